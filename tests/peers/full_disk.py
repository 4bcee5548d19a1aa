"""A full disk, a real one: `sota center` and `sota module` on a tmpfs of a few MiB. Each says so with its own error,
nothing is half-done, and with room again the same thing works and what was there before still is. Needs root.

usage: full_disk.py PATH-OF-SOTA
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error

from center_peer import Center, Rest

MIB = 1 << 20
PACKAGE = bytes((i * i * 7 + i // 251) % 256 for i in range(300_001))


class Answers(Rest):
    """Like Rest, but a refusal is an answer: (status, body)."""

    def try_call(self, method, path, body=None, content_type="application/json"):
        try:
            return 200, super().call(method, path, body, content_type)
        except SystemExit as refused:
            cause = refused.__context__
            if not isinstance(cause, urllib.error.HTTPError):
                raise
            # "FAILED: METHOD PATH: STATUS BODY"
            return cause.code, json.loads(str(refused).split(f": {cause.code} ", 1)[1])


def check(true, what):
    if not true:
        raise SystemExit(f"FAILED: {what}")


@contextlib.contextmanager
def small_disk(size):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            print(f"{'FAILED' if os.environ.get('CI') == 'true' else 'skipped'}: a full disk: "
                  f"this user cannot mount a tmpfs: {done.stderr.strip()}", file=sys.stderr)
            raise SystemExit(1 if os.environ.get("CI") == "true" else 0)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(folder):
    """Takes all the room; returns the file that holds it."""
    path = os.path.join(folder, "ballast")
    with open(path, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
    return path


def files(folder):
    return sorted(os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)


def full(answer, what):
    status, body = answer
    check(status == 507 and body["number"] == 1050 and body["name"] == "StorageFull",
          f"{what}: {status} {body}")
    check(body["remedy"], f"{what}: no remedy in {body}")


def center(sota):
    with small_disk(6 * MIB) as disk:
        data = os.path.join(disk, "data")
        with Center(sota, data) as peer:
            rest = Answers(peer.base, token=peer.token)
            project, _, _ = rest.furnish("full")
            before = rest.upload(PACKAGE[:1000], project=project, name="before", component_type="MCU",
                                 target_version="1")
            kept = files(os.path.join(data, "packages"))
            ballast = fill(disk)

            def upload():
                rest.call, plain = rest.try_call, rest.call
                try:
                    return rest.upload(PACKAGE, project=project, name="big", component_type="MCU",
                                       target_version="2")
                finally:
                    rest.call = plain

            full(upload(), "upload on a full disk")
            check(files(os.path.join(data, "packages")) == kept, "the refused upload left a file")
            listed = [p["name"] for p in rest.get("/api/v1/packages")]
            check(listed == ["before"], f"the packages after the refused upload: {listed}")

            # The database's pages and its log still have some free places: entities until they are used up.
            made = 1
            for number in range(100_000):
                answer = rest.try_call("POST", "/api/v1/projects", json.dumps({"name": f"p{number}"}).encode())
                if answer[0] != 200:
                    break
                made += 1
            full(answer, "a project on a full disk")
            listed = len(rest.get("/api/v1/projects"))
            check(listed == made, f"{made} projects were made, {listed} are listed")

            os.remove(ballast)
            status, body = upload()
            check(status == 200 and body["files"][0]["length"] == len(PACKAGE), f"upload with room: {status} {body}")
            rest.post("/api/v1/projects", {"name": f"p{number}"})
        # What was acknowledged outlives the process too.
        with Center(sota, data) as peer:
            rest = Rest(peer.base, token=peer.token)
            listed = {p["name"]: p["files"][0]["sha256"] for p in rest.get("/api/v1/packages")}
            check(listed.keys() == {"before", "big"}, f"the packages after the restart: {listed}")
            check(listed["before"] == before["files"][0]["sha256"], "the earlier package changed")
            check(len(rest.get("/api/v1/projects")) == made + 1, "a project is gone after the restart")
    print("ok: sota center on a full disk, and with room again")


def refused(name, *command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    check(done.returncode == 1, f"{command[1]} on a full disk: status {done.returncode}")
    error = json.loads(done.stdout)
    check(error["name"] == name and error["remedy"], f"{command[1]} on a full disk: {error}")
    check("No space left" in error["message"] or name == "StorageFull", f"{command[1]}: {error}")


def start(sota):
    with small_disk(MIB) as disk:
        state = os.path.join(disk, "state")
        os.mkdir(state)
        ballast = fill(disk)
        module = [sota, "module", "--json", "--until-eof", "--server", "coap://127.0.0.1:9", "--product-key", "p",
                  "--device-key", "d", "--uart", "pty", "--state", state, "--staging", "65536"]
        refused("FlashFile", *module)
        any_port = ["--listen-http", "127.0.0.1:0", "--listen-coap", "127.0.0.1:0"]
        refused("StorageFull", sota, "center", "--json", "--data", os.path.join(disk, "state"), *any_port)
        os.remove(ballast)
        # What the refused start left is no obstacle: with its input at the end the module ends by itself.
        done = subprocess.run(module, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60, check=False)
        check(done.returncode == 0 and b'"endpoint":"p:d"' in done.stdout, f"the module with room: {done}")
    print("ok: sota module and sota center do not start on a full disk, and do with room again")


def main():
    # So that the disk is unmounted then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sota = os.path.realpath(sys.argv[1])
    start(sota)
    center(sota)


if __name__ == "__main__":
    main()
