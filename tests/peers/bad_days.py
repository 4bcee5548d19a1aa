"""What people and devices do wrong, against a real Center: each has a clear answer, memory stays bounded, and the
Center goes on.

usage: bad_days.py PATH-OF-SOTA
"""

import hashlib
import http.client
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time

import cbor2

from center_peer import Center

MIB = 1 << 20
HUNDRED = "ä€𝄞\u202e<b>\"&'" + "ß" * 90


def check(true, what):
    if not true:
        raise SystemExit(f"FAILED: {what}")


class Asker:
    """Requests whose refusals are answers: (status, body)."""

    def __init__(self, center):
        self.port, self.token = int(center.base.rsplit(":", 1)[1]), center.token

    def ask(self, method, path, body=None, content_type="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = content_type
        # The Center may answer and close before all of a body that is too large is read.
        try:
            connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = connection.getresponse()
        text = answer.read().decode()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def post(self, path, value):
        return self.ask("POST", path, json.dumps(value))

    def made(self, path, value):
        status, body = self.post(path, value)
        check(status == 201, f"POST {path}: {status} {body}")
        return body

    def upload(self, file_name, content, length=None, **fields):
        """`content` is bytes or an iterator of them with a `length`."""
        head = "".join(f'--B\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items())
        head += f'--B\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'
        parts = [content] if isinstance(content, bytes) else content
        length = len(content) if length is None else length
        tail = b"\r\n--B--\r\n"

        def body():
            yield head.encode()
            yield from parts
            yield tail

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "multipart/form-data; boundary=B",
                   "Content-Length": str(len(head.encode()) + length + len(tail))}
        try:
            connection.request("POST", "/api/v1/packages", body(), headers)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def refused(answer, status, name, what):
    check(answer[0] == status and isinstance(answer[1], dict) and answer[1]["name"] == name and answer[1]["remedy"],
          f"{what}: {answer}")
    print(f"ok: {what}: {status} {answer[1]['number']} {name}", flush=True)


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS:"))


class Growth:
    """The most that the Center's resident memory grows in this block, in MB, is below a limit."""

    def __init__(self, center, limit, what):
        self.pid, self.limit, self.what = center.process.pid, limit, what

    def __enter__(self):
        self.begin = self.most = resident(self.pid)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.01):
            self.most = max(self.most, resident(self.pid))

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        grown = self.most - self.begin
        check(grown < self.limit, f"{self.what}: memory grew by {grown:.0f} MB")
        print(f"ok: {self.what}: memory grew by {grown:.1f} MB", flush=True)


def files(folder):
    return sorted(os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)


def uploads(center, asker, data, project):
    of = {"project": project, "component_type": "MCU", "target_version": "9"}
    before = files(f"{data}/packages")
    with Growth(center, 40, "a file of 101 MB"):
        mib = os.urandom(MIB)
        answer = asker.upload("large.bin", (mib for _ in range(101)), 101 * MIB, name="large", **of)
    refused(answer, 413, "FileTooLarge", "a file of 101 MB")
    check(files(f"{data}/packages") == before, "the refused file left something")
    # Files are opaque: what they are is between the operator and the MCU.
    for file_name, content in (("lies.zip", b"this is no zip"), ("lies.bin", b"PK\x03\x04 this is half a zip")):
        status, made = asker.upload(file_name, content, name=file_name, **of)
        sha256 = hashlib.sha256(content).hexdigest()
        check(status == 201 and made["files"][0]["sha256"] == sha256, f"{file_name}: {status} {made}")
        with open(f"{data}/packages/{next(f for f in files(f'{data}/packages') if sha256 in f.replace('/', ''))[len(data) + 10:]}", "rb") as file:
            check(file.read() == content, f"{file_name} is kept as other bytes")
    refused(asker.upload("program.exe", b"x", name="ending", **of), 422, "FileFormatUnknown", "an ending that is not allowed")
    print("ok: files that lie about their type are kept as they are", flush=True)


def names(asker):
    check(len(HUNDRED) == 100, f"{len(HUNDRED)} characters")
    project = asker.made("/api/v1/projects", {"name": HUNDRED})
    check(project["name"] == HUNDRED, f"the name came back as {project['name']}")
    of = {"project": project["id"]}
    product = asker.made("/api/v1/products", of | {"name": HUNDRED, "product_key": "k" * 64, "product_secret": "s"})
    model = asker.made("/api/v1/models", of | {"name": HUNDRED, "device_model": "M", "components": [
        {"identifier": "module", "name": "m", "type": "Firmware"},
        {"identifier": "ß" * 16, "name": HUNDRED, "type": "MCU"}]})
    status, package = asker.upload("p.bin", b"x", name=HUNDRED, component_type="MCU", target_version="9", project=project["id"])
    check(status == 201 and package["name"] == HUNDRED, f"package: {status} {package}")
    plan = asker.made("/api/v1/plans", of | {"name": HUNDRED, "product": product["id"], "model": model["id"],
                      "components": [{"component": "ß" * 16, "package": package["id"]}], "upgrade_text": "𝄞" * 200})
    part = f"/projects/{project['id']}"
    for path in ("", "/plans", f"/plans/{plan['id']}", f"/plans/{plan['id']}/edit", "/devices", "/models", "/packages",
                 f"/packages/{package['id']}", "/members"):
        status, page = asker.ask("GET", part + path)
        check(status == 200 and "<b>\"&'" not in page and "ä€𝄞" in page, f"{path}: {status}")
    print("ok: names of 100 characters of every kind, in REST and on the pages", flush=True)
    for name, error in ((HUNDRED + "x", "NameOverlong"), ("", "NameEmpty"), ("a\nb", "NameForbiddenCharacters")):
        refused(asker.post("/api/v1/projects", {"name": name}), 422, error, f"a name of {len(name)} characters")
    refused(asker.post("/api/v1/projects", {"name": HUNDRED}), 409, "NameTaken", "the same name again")
    refused(asker.ask("POST", "/api/v1/projects", b'{"name":"\xff"}'), 400, "MalformedRequest", "a name that is no UTF-8")


def lists(center, asker, plan):
    def keys(count):
        return [f"86000000{number:07}" for number in range(count)]

    check(asker.post("/api/v1/plans", plan | {"name": "ten thousand", "whitelist": keys(10_000)})[0] == 201, "10,000 devices")
    refused(asker.post("/api/v1/plans", plan | {"name": "more", "whitelist": keys(10_001)}), 422, "ListTooLong", "a list of 10,001")
    million = json.dumps(plan | {"name": "million", "whitelist": keys(1_000_000)})
    form = "step=1&go=next&name=million&whitelist=" + "%0A".join(keys(1_000_000))
    with Growth(center, 40, "lists of a million lines"):
        refused(asker.ask("POST", "/api/v1/plans", million), 413, "RequestTooLarge", "a list of a million")
        status, page = asker.ask("POST", f"/projects/{plan['project']}/plans/new", form, "application/x-www-form-urlencoded")
        check(status == 413 and "larger than allowed" in page, f"a list of a million on the page: {status} {page[:500]}")


def two_operators(asker, plan):
    stored = asker.made("/api/v1/plans", plan | {"name": "two"})
    path, answers = f"/api/v1/plans/{stored['id']}", []

    def edit(text):
        body = plan | {"name": "two", "upgrade_text": text, "revision": stored["revision"]}
        answers.append((text, asker.ask("PUT", path, json.dumps(body))))

    both = [threading.Thread(target=edit, args=(f"by {number}",)) for number in range(8)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    won = [text for text, (status, _) in answers if status == 200]
    check(len(won) == 1, f"of eight edits of one revision {len(won)} were done")
    for _, answer in answers:
        check(answer[0] in (200, 409), f"an edit: {answer}")
    text = asker.ask("GET", path)[1]["upgrade_text"]
    check(text == won[0], f"the plan says {text}, {won[0]} was acknowledged")
    refused(next(a for _, a in answers if a[0] == 409), 409, "Conflict", "operators who edit the same plan at once")


def senml(*records):
    return cbor2.dumps([{0: f"/{path}", **value} for path, value in records])


def nonsense(center, asker):
    """A device that is registered and then says what no device says."""
    draw = random.Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.connect(("127.0.0.1", center.coap_port))
        device.settimeout(10)
        ids = iter(range(1, 60_000))

        def ask(options, payload):
            number = next(ids)
            head = bytes([0x42, 0x02]) + number.to_bytes(2, "big") * 2
            device.send(head + options + b"\xff" + payload)
            while True:
                answer = device.recv(2048)
                if answer[2:4] == number.to_bytes(2, "big") and answer[0] & 0x30 == 0x20:
                    return answer[1]
                if answer[0] & 0x30 == 0:  # a request of the Center's: reset
                    device.send(bytes([0x70, 0]) + answer[2:4])

        register = b"\xb2rd\x11\x28" + bytes([0x3D, len("ep=pk:nonsense") - 13]) + b"ep=pk:nonsense"
        send = b"\xb2dp\x11\x70"
        links = b"</>;rt=\"oma.lwm2m\";ct=112,</42769/0>,</42769/1>"
        check(ask(register, links) == 0x41, "the registration")
        plan = 42769
        strange = [
            senml((f"{plan}/1/1", {3: "STM32"}), (f"{plan}/1/19", {3: "v" * 900})),
            senml((f"{plan}/1/1", {3: "x\x00y:;\""}), (f"{plan}/1/19", {3: "1"})),
            senml((f"{plan}/1/13", {2: 200}), (f"{plan}/1/0", {3: "1-1"})),
            senml((f"{plan}/1/13", {2: 11}), (f"{plan}/1/0", {3: "99999999999999999999-7"})),
            senml((f"{plan}/1/13", {2: 11}), (f"{plan}/1/0", {3: "1-4294967296"})),
            senml(("3/0/9", {2: 4_000_000_000}), ("4/0/2", {2: -1 << 62})),
            senml(("3/0/9", {2: -5}), ("4/0/2", {3: "loud"})),
            senml((f"{plan}/65535/1", {3: "STM32"}), (f"{plan}/65535/19", {3: "1"})),
            senml(*[(f"{plan}/{i}/1", {3: f"c{i}"}) for i in range(60)]),
            senml(("1/2/3/4/5/6", {2: 1})), cbor2.dumps({"not": "a list"}), b"\x9f" * 500, b"\x81" * 1000 + b"\x00",
        ]
        strange += [draw.randbytes(draw.randrange(1, 600)) for _ in range(300)]
        answers = {}
        for payload in strange:
            code = ask(send, payload)
            name = f"{code >> 5}.{code & 31:02}"
            answers[name] = answers.get(name, 0) + 1
        check(set(answers) <= {"2.04", "4.00"}, f"a device's nonsense: {answers}")
        for _ in range(300):
            device.send(draw.randbytes(draw.randrange(0, 1500)))
        device.send(b"x" * 4000)
        time.sleep(0.5)
    health = asker.ask("GET", "/health")[1]
    port = health["device_port"]
    check(health["status"] == "ok" and port["malformed_payloads"] > 100 and port["malformed_messages"] > 100, f"{health}")
    status, device = asker.ask("GET", "/api/v1/devices/pk/nonsense")
    check(status == 200 and len(device["components"]) <= 32, f"{device}")
    check(device["battery_percent"] is None or 0 <= device["battery_percent"] <= 100, f"{device}")
    for component in device["components"]:
        check(len(component["version"]) <= 64 and len(component["identifier"].encode()) <= 32, f"{component}")
    for path in ("/projects/1/devices/pk/nonsense", "/projects/1/devices", "/projects/1"):
        check(asker.ask("GET", path)[0] == 200, f"{path} with such a device")
    print(f"ok: a device that reports nonsense: {answers}; counted: {port}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as data, Center(sys.argv[1], data) as center:
        asker = Asker(center)
        project, product, _ = center.rest.furnish("pk")
        model = asker.made("/api/v1/models", {"project": project, "name": "m2", "device_model": "M2", "components": [
            {"identifier": "module", "name": "module", "type": "Firmware"},
            {"identifier": "STM32", "name": "motor", "type": "MCU"}]})["id"]
        status, package = asker.upload("p.bin", b"x", project=project, name="p", component_type="MCU", target_version="9")
        check(status == 201, f"package: {package}")
        plan = {"project": project, "product": product, "model": model,
                "components": [{"component": "STM32", "package": package["id"]}]}
        nonsense(center, asker)
        names(asker)
        two_operators(asker, plan)
        uploads(center, asker, data, project)
        lists(center, asker, plan)
        check(asker.ask("GET", "/health")[1]["status"] == "ok", "the Center afterwards")
    print("ok: bad days")


if __name__ == "__main__":
    main()
