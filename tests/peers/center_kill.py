"""`kill -9` of the Center at random moments of a plan of 50 devices, and started again on the same data.

The devices are `fleet upgrade` (crates/center/examples/fleet): real CoAP/UDP, a real package. Meanwhile changes are made
over REST, and each that was acknowledged is written down. At the end nothing acknowledged is lost, no device was offered
twice what the Center knew that it has, each is upgraded, and the plan's counters equal a full count.

usage: center_kill.py PATH-OF-SOTA PATH-OF-FLEET KILLS SEED
"""

import collections
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error

from center_peer import Rest, free_port, read

DEVICES = 50
PACKAGE = bytes((i * i * 7 + i // 251) % 256 for i in range(20_001))
# What the log says of a state that a device told.
SAID = {1: "plan received", 2: "confirmed", 4: "download starts", 5: "downloading", 8: "piece downloaded",
        9: "updating", 11: "success"}
GONE = (ConnectionError, TimeoutError, urllib.error.URLError, http.client.HTTPException, OSError)


def check(true, what):
    if not true:
        raise SystemExit(f"FAILED: {what}")


class Center:
    """A Center that is killed and comes back with the same data and addresses."""

    def __init__(self, sota, data):
        self.http, self.coap = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        self.base = f"http://127.0.0.1:{self.http}"
        self.token_file = os.path.join(data, "token")
        self.command = [sota, "center", "--data", data, "--listen-http", f"127.0.0.1:{self.http}",
                        "--listen-coap", f"127.0.0.1:{self.coap}", "--token-file", self.token_file]
        self.rest = Rest(self.base)
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                Rest(self.base).get("/health")
                self.rest.token = read(self.token_file)
                return
            except GONE:
                check(self.process.poll() is None, f"the Center has ended with {self.process.returncode}")
                check(time.monotonic() < deadline, "the Center does not answer")
                time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Changes(threading.Thread):
    """Changes over REST all the time. What was acknowledged must stay; what was not may or may not be there."""

    def __init__(self, center, project, product, plan, saved, seed):
        super().__init__(daemon=True)
        self.center, self.project, self.product, self.plan, self.saved = center, project, product, plan, saved
        self.random = random.Random(seed)
        self.stop, self.failed, self.unknown, self.acknowledged = threading.Event(), None, 0, 0
        self.projects, self.packages, self.tags = set(), {}, None
        self.upgrade_text, self.maybe = None, set()
        self.suspended, self.sure = False, True
        self.disabled = {}

    def run(self):
        number = 0
        while not self.stop.is_set():
            number += 1
            try:
                self.random.choice([self.new_project, self.new_package, self.edit, self.pause, self.disable])(number)
                self.acknowledged += 1
            except GONE:
                self.unknown += 1
            except SystemExit as refused:
                if ": 401 " in str(refused):  # the token of the run before: nothing was done
                    self.unknown += 1
                    continue
                self.failed = str(refused)
                return
            time.sleep(self.random.uniform(0, 0.1))

    def call(self, method, path, value):
        return Rest(self.center.base, token=self.center.rest.token).call(method, path, json.dumps(value).encode())

    def new_project(self, number):
        name = f"p{number} ä€𝄞"
        self.call("POST", "/api/v1/projects", {"name": name})
        self.projects.add(name)

    def new_package(self, number):
        rest = Rest(self.center.base, token=self.center.rest.token)
        content = self.random.randbytes(self.random.randrange(1, 3000))
        made = rest.upload(content, project=self.project, name=f"k{number}", component_type="MCU", target_version="9")
        self.packages[made["name"]] = made["files"][0]["sha256"]

    def edit(self, number):
        text = f"text {number}"
        self.maybe.add(text)
        self.call("PUT", f"/api/v1/plans/{self.saved['id']}", self.saved["body"] | {"upgrade_text": text})
        self.upgrade_text, self.maybe = text, set()

    def pause(self, _):
        # An action whose answer was lost may have been done: the state is read first.
        state = Rest(self.center.base, token=self.center.rest.token).get(f"/api/v1/plans/{self.plan}")["state"]
        if self.sure:
            check((state == "Suspended") == self.suspended, f"the plan is {state}, suspended was {self.suspended}")
        self.suspended, self.sure = state == "Suspended", False
        self.call("POST", f"/api/v1/plans/{self.plan}/{'resume' if self.suspended else 'suspend'}", {})
        self.suspended, self.sure = not self.suspended, True
        if self.suspended:
            time.sleep(0.05)
            self.sure = False
            self.call("POST", f"/api/v1/plans/{self.plan}/resume", {})
            self.suspended, self.sure = False, True

    def disable(self, _):
        # Devices that the plan leaves out.
        key, off = f"x{self.random.randrange(3)}", self.random.random() < 0.5
        self.disabled[key] = None
        self.call("POST", f"/api/v1/devices/fleet/{key}/{'disable' if off else 'enable'}", {})
        self.disabled[key] = off

    def judge(self, rest):
        check(self.failed is None, f"a change was refused: {self.failed}")
        there = {p["name"] for p in rest.get("/api/v1/projects")}
        check(self.projects <= there, f"projects are lost: {self.projects - there}")
        files = {p["name"]: p["files"][0]["sha256"] for p in rest.get("/api/v1/packages")}
        lost = {name for name, sha256 in self.packages.items() if files.get(name) != sha256}
        check(not lost, f"packages are lost: {lost}")
        text = rest.get(f"/api/v1/plans/{self.saved['id']}")["upgrade_text"]
        check(text == self.upgrade_text or text in self.maybe, f"the plan's text is {text!r}, was {self.upgrade_text!r}")
        for key, off in self.disabled.items():
            now = rest.get(f"/api/v1/devices/fleet/{key}")["disabled"]
            check(off is None or now == off, f"device {key}: disabled {now}, was {off}")


def furnish(rest):
    project, product, _ = rest.furnish("fleet")
    model = rest.post("/api/v1/models", {"project": project, "name": "m2", "device_model": "M2", "components": [
        {"identifier": "firmware", "name": "firmware", "type": "Firmware"},
        {"identifier": "STM32", "name": "motor", "type": "MCU"}]})["id"]
    package = rest.upload(PACKAGE, project=project, name="two", component_type="MCU", target_version="2_0")["id"]
    body = {"project": project, "name": "plan", "product": product, "model": model,
            "blacklist": [f"x{n}" for n in range(3)], "components": [{"component": "STM32", "package": package}]}
    plan = rest.post("/api/v1/plans", body)["id"]
    rest.post(f"/api/v1/plans/{plan}/activate", {})
    body = body | {"name": "saved"}
    saved = {"id": rest.post("/api/v1/plans", body)["id"], "body": body}
    return project, product, plan, saved


def spare_devices(port):
    """Registers x0..x2, by a datagram each; they only have to be there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        for number in range(3):
            name = f"ep=fleet:x{number}".encode()
            head = bytes([0x40, 0x02, 0x10, number]) + b"\xb2rd" + b"\x11\x28"  # CON POST /rd, Content-Format 40
            query = bytes([0x30 + len(name)]) + name  # Uri-Query
            s.sendto(head + query + b"\xff</1/0>", ("127.0.0.1", port))
            answer = s.recv(1500)
            check(answer[1] == 0x41, f"registration of {name}: {answer.hex()}")


def judge(rest, plan, fleet, data):
    devices = []
    while True:
        after = f"&after={devices[-1]['device_key']}" if devices else ""
        page = rest.get(f"/api/v1/plans/{plan}/devices?limit=20{after}")
        devices += page
        if not page:
            break
    ours = [d for d in devices if d["device_key"].startswith("d")]
    check(len(ours) == DEVICES, f"{len(ours)} devices are in the plan")
    status = rest.get(f"/api/v1/plans/{plan}")
    counted = collections.Counter(d["state"] for d in devices)
    kept = {"NotUpgraded": "not_upgraded", "InUpgrade": "in_upgrade", "Upgraded": "upgraded",
            "UpgradeFailed": "upgrade_failed", "NoUpdateRequired": "no_update_required"}
    for state, name in kept.items():
        check(status["counters"][name] == counted[state], f"counters {status['counters']}, counted {counted}")
    check(counted["Upgraded"] == DEVICES, f"states: {counted}")
    check(status["state"] == "Upgrading" and status["success_rate_percent"] == 100.0, f"the plan: {status}")
    reports = 0
    for seen in fleet["devices"]:
        key = seen["key"]
        check(seen["again"] == 0, f"{key} was offered again what it had acknowledged: {seen}")
        check(seen["others"] == 0 and len(seen["offers"]) == 1, f"{key} had more than one offer: {seen}")
        log = [line["text"] for line in rest.get(f"/api/v1/plans/{plan}/devices/{key}")["log"]]
        for state in seen["told"]:
            check(any(SAID[state] in text for text in log), f"{key}: state {state} was acknowledged, the log is {log}")
        reports += len(seen["told"])
        offered = [text for text in log if "offered" in text]
        check(len(offered) == 1, f"{key}: {offered}")
    # The counters once more, by the rows themselves.
    with sqlite3.connect(f"file:{data}/center.db?mode=ro", uri=True) as db:
        rows = dict(db.execute("SELECT state, count(*) FROM plan_device WHERE plan = ? GROUP BY state", (plan,)))
        kept = dict(db.execute("SELECT state, sum(devices) FROM counter WHERE plan = ? GROUP BY state HAVING sum(devices)", (plan,)))
        sound = db.execute("PRAGMA integrity_check").fetchone()[0]
    check(rows == kept and sound == "ok", f"rows {rows}, counters {kept}, integrity {sound}")
    return reports


def main():
    sota, fleet, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    print(f"{kills} kills, seed {seed}", flush=True)
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as data:
        center = Center(sota, data)
        center.start()
        devices = None
        try:
            project, product, plan, saved = furnish(center.rest)
            spare_devices(center.coap)
            # About a second for each kill: the plan shall last as long as the kills.
            devices = subprocess.Popen(
                [fleet, "upgrade", "--server", f"127.0.0.1:{center.coap}", "--devices", str(DEVICES), "--seed", str(seed),
                 "--spread-s", str(kills), "--limit-s", str(kills * 10 + 120)], stdout=subprocess.PIPE, text=True)
            changes = Changes(center, project, product, plan, saved, seed)
            changes.start()
            moments = []
            for _ in range(kills):
                alive = draw.choice([draw.uniform(0, 0.2), draw.uniform(0.2, 1.8)])
                time.sleep(alive)
                center.kill()
                moments.append(devices.poll() is None)
                center.start()
            # The last change may have left it suspended, and so did the kills.
            changes.stop.set()
            changes.join(60)
            check(not changes.is_alive(), "the changes do not end")
            if center.rest.get(f"/api/v1/plans/{plan}")["state"] == "Suspended":
                center.rest.post(f"/api/v1/plans/{plan}/resume", {})
            seen, _ = devices.communicate(timeout=kills * 10 + 180)
            check(devices.returncode == 0, f"the devices: {seen}")
            seen = json.loads(seen)
            reports = judge(center.rest, plan, seen, data)
            changes.judge(center.rest)
            during = sum(moments)
            print(f"ok: {kills} kills, {during} of them while devices were on their way, in {seen['ms'] / 1000:.0f} s; "
                  f"{DEVICES} devices upgraded, {reports} reports and {changes.acknowledged} changes acknowledged and there, "
                  f"{changes.unknown} changes cut off, no offer twice")
            check(during >= kills // 2, "the plan was over too early to prove anything")
        finally:
            for process in (devices, center.process):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()


if __name__ == "__main__":
    main()
