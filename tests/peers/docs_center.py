"""Runs the examples of docs/center.md as they stand there, by bash, curl and the program, against a real Center with one
real module; only the port is another. A request that is refused fails the test.

usage: docs_center.py PATH-OF-SOTA
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from center_peer import Center

DOC = pathlib.Path(__file__).resolve().parents[2] / "docs/center.md"
PLAN = {
    "project": 1, "name": "summer", "product": 2, "model": 3,
    "components": [{"component": "STM32", "package": 6}],
}


def blocks(title):
    """The shell examples below a heading."""
    _, text = DOC.read_text().split(f"\n## {title}\n", 1)
    text = text.split("\n## ", 1)[0]
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    if not found:
        raise SystemExit(f"FAILED: no example below {title}")
    return found


def run(script, folder, env):
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, text=True, capture_output=True)
    if result.returncode != 0:
        raise SystemExit(f"FAILED: {script}\n{result.stdout}{result.stderr}")
    return result.stdout


@contextlib.contextmanager
def device(sota, server, here):
    """A module and its MCU; they end with this block."""
    parts = []

    def part(*arguments):
        parts.append(subprocess.Popen(
            [sota, "--json", "--until-eof", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return parts[-1].stdout

    try:
        lines = part("module", "--server", server, "--product-key", "pk1", "--device-key", "860000000000001",
                     "--state", str(here / "module"), "--uart", "pty")
        uart = next(path for path in (json.loads(line).get("uart") for line in lines) if path)
        part("mcu", "--uart", uart, "--state", str(here / "mcu"), "--component", "STM32", "--version", "1_0_0")
        yield
    finally:
        for process in reversed(parts):
            process.terminate()
            process.wait(20)


def until(wanted):
    """Asks until there is an answer."""
    end = time.monotonic() + 60
    while not wanted():
        if time.monotonic() > end:
            raise SystemExit("FAILED: the device did not come into the plan")
        time.sleep(0.2)


def main(sota):
    with tempfile.TemporaryDirectory() as folder, Center(sota, folder) as center:
        here = pathlib.Path(folder)
        (here / "motor.bin").write_bytes(bytes(range(256)) * 40)
        (here / "plan.json").write_text(json.dumps(PLAN))
        # What a reader sees, the test must: a refusal is a failure.
        (here / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        env = os.environ | {
            "HOME": folder, "PATH": f"{os.path.dirname(os.path.abspath(sota))}:{os.environ['PATH']}",
            "SOTA_CENTER_URL": center.base, "SOTA_TOKEN_FILE": str(here / "token"),
        }
        (curl,) = blocks("By curl")
        curl = curl.replace("http://127.0.0.1:8080", center.base)
        # The device comes when its product is there, and is in the plan when that is active.
        before, after = curl.split("curl $C/plans/5 ", 1)
        head = "".join(before.splitlines(True)[:4])
        run(before, folder, env)
        with device(sota, f"coap://127.0.0.1:{center.coap_port}", here):
            until(lambda: center.rest.get("/api/v1/plans/5/devices"))
            run(head + "curl $C/plans/5 " + after, folder, env)
            (program,) = blocks("By `sota package`, `sota plan`, `sota device`")
            run(program, folder, env)
    count = len(re.findall(r"^(?:curl -|curl \S*\$C|sota )", curl + program, re.M))
    print(f"docs/center.md: {count} examples, none was refused")


main(sys.argv[1])
