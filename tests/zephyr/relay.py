"""The host's side of an upgrade through a native_sim program: `sota center`, `sota mcu`, and counted links between
them. Standard library only.

  Center <-UDP-> proxy <-UDP-> module (native_sim) <-pty-> wire <-pty-> MCU
                                                   <-pty-> wire <-pty-> STM32 with its ROM loader
"""

import hashlib
import json
import os
import pathlib
import pty
import queue
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tty

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/peers"))
from center_peer import Center, free_port  # noqa: E402

PRODUCT, DEVICE, COMPONENT = "demo", "device-1", "STM32"
# The STM32 at the second UART (tests/zephyr/stm32/app.overlay).
SENSOR = "SENSOR"


class Proxy:
    """Carries datagrams between the module and the Center, and counts them."""

    def __init__(self, lose=None):
        self.center = None
        self.module = None
        self.lose = lose or (lambda _number: False)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.bind(("127.0.0.1", 0))
        self.port = self.front.getsockname()[1]
        self.datagrams = self.to_module = self.to_center = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            for sock in select.select([self.front, self.back], [], [])[0]:
                try:
                    data, source = sock.recvfrom(65536)
                except OSError:
                    continue
                self.datagrams += 1
                if self.lose(self.datagrams):
                    continue
                if sock is self.front:
                    self.module = source
                    self.to_center += len(data)
                    self.back.sendto(data, self.center)
                elif self.module is not None:
                    self.to_module += len(data)
                    self.front.sendto(data, self.module)


class Wire:
    """A UART between the module's pseudo-terminal and one of the MCU's; outlives the module's.

    With `mcu_confirms` false the MCU's action 1 is answered here and does not reach the module: the product decides.
    """

    def __init__(self, mcu_confirms=True):
        self.mcu_confirms, self.begun = mcu_confirms, b""
        self.mcu_side, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.name = os.ttyname(self.slave)
        self.module_side = None
        self.to_mcu = self.to_module = 0
        # Only the thread reads, writes and closes what it carries between: another that closed a file under it would
        # have it read what the number stands for next, the answer of the Center for one.
        self.changes, (self.woken, self.waker) = queue.SimpleQueue(), os.pipe()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def attach(self, name):
        """To the pseudo-terminal of a module that has just started."""
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd)
        self.change(fd)

    def close(self):
        self.change(None)
        self.thread.join()

    def change(self, fd):
        self.changes.put(fd)
        os.write(self.waker, b"!")

    def without_confirmation(self, data):
        if self.mcu_confirms:
            return data
        *lines, self.begun = (self.begun + data).split(b"\r")
        if b"AT+QIOTUPDATE=1" in lines:
            os.write(self.mcu_side, b"\r\nOK\r\n")
        return b"".join(line + b"\r" for line in lines if line != b"AT+QIOTUPDATE=1")

    def run(self):
        while True:
            fds = [fd for fd in (self.woken, self.mcu_side, self.module_side) if fd is not None]
            ready = select.select(fds, [], [])[0]
            if self.woken in ready:
                os.read(self.woken, 1)
                self.detach()
                self.module_side = self.changes.get()
                if self.module_side is None:
                    break
                continue
            if self.mcu_side in ready:
                self.from_mcu(os.read(self.mcu_side, 4096))
            if self.module_side in ready:
                self.from_module()
        for fd in (self.mcu_side, self.slave, self.woken, self.waker):
            os.close(fd)

    def detach(self):
        if self.module_side is not None:
            os.close(self.module_side)
            self.module_side = None

    def from_mcu(self, data):
        data = self.without_confirmation(data)
        self.to_module += len(data)
        try:
            if self.module_side is not None and data:
                os.write(self.module_side, data)
        except OSError:
            self.detach()

    def from_module(self):
        try:
            data = os.read(self.module_side, 4096)
        except OSError:
            data = b""
        if not data:
            # The module was killed; until the next one the MCU speaks to nobody.
            return self.detach()
        self.to_mcu += len(data)
        os.write(self.mcu_side, data)


class Module:
    """The native_sim program; its console goes to a file."""

    def __init__(self, program, folder, server, wire=None, arguments=()):
        self.command = [program, f"--flash={folder}/flash.bin", f"--sota-server={server}",
                        f"--sota-device-key={DEVICE}", *arguments]
        self.wires = {"uart_1": wire} if wire else {}
        self.console = pathlib.Path(folder, "module.log")
        self.console.write_text("")
        self.process = None
        self.starts = 0

    def start(self):
        with self.console.open("a") as log:
            began = self.console.stat().st_size
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)
        self.starts += 1
        for uart, wire in self.wires.items():
            wire.attach(self.pseudo_terminal(uart, began))

    def pseudo_terminal(self, uart, began):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            text = self.console.read_text(errors="replace")[began:]
            if found := re.search(uart + r" connected to pseudotty: (\S+)", text):
                return found[1]
            time.sleep(0.02)
        raise SystemExit(f"FAILED: the module does not start; see {self.console}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def text(self):
        return self.console.read_text(errors="replace")


class Chip:
    """An MCU with nothing of ours on it, at the second UART: an STM32 with its ROM loader (`sota mcu --protocol stm32`), or one
    with MCUmgr and MCUboot (smp). Its flash outlives it."""

    def __init__(self, sota, folder, protocol):
        self.wire = Wire()
        self.protocol = protocol
        # Short: a Unix socket's path has 107 bytes.
        self.lines = os.path.join(tempfile.mkdtemp(), "lines")
        self.state = pathlib.Path(folder, "chip")
        self.state.mkdir()
        self.command = [sota, "--json", "mcu", "--protocol", protocol, "--uart", self.wire.name,
                        "--state", str(self.state), "--component", SENSOR, "--version", "V1_0"]
        if protocol == "stm32":
            self.command += ["--lines", self.lines]
        self.process = None
        self.events = []
        # With smp: which version runs.
        self.version = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert "ready" in json.loads(self.process.stdout.readline())

        def read(out=self.process.stdout):
            for line in out:
                said = json.loads(line)
                self.version = said.get("version")
                self.events.append(said.get("event"))

        threading.Thread(target=read, daemon=True).start()

    def kill(self):
        """The power goes."""
        self.process.kill()
        self.process.wait()

    def flash(self):
        return (self.state / f"{self.protocol}-flash.bin").read_bytes()


class Relay:
    """A whole upgrade. `with` ends every process that it started."""

    def __init__(self, sota, program, folder, size=256 * 1024, arguments=(), mcu=True, lose=None, mcu_confirms=True,
                 chip=None):
        self.sota, self.folder = sota, folder
        self.package = os.urandom(size)
        self.proxy = Proxy(lose)
        self.center = Center(sota, os.path.join(folder, "center"), "--coap-public", f"127.0.0.1:{self.proxy.port}")
        self.proxy.center = ("127.0.0.1", self.center.coap_port)
        self.wire = Wire(mcu_confirms) if mcu else None
        self.chip = Chip(sota, folder, chip) if chip else None
        if chip == "stm32":
            arguments = (*arguments, f"--lines={self.chip.lines}")
        self.module = Module(program, folder, f"coap://127.0.0.1:{self.proxy.port}", self.wire, arguments)
        if self.chip:
            self.module.wires["uart_2"] = self.chip.wire
        self.mcu = None
        self.mcu_lines = []
        self.plan = None

    def __enter__(self):
        self.center.__enter__()
        return self

    def __exit__(self, *error):
        for process in (self.module.process, self.mcu, self.chip and self.chip.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        for wire in (self.wire, self.chip and self.chip.wire):
            if wire:
                wire.close()
        self.center.__exit__(*error)

    def furnish(self, kind="MCU", component=COMPONENT, target="V2_0", module="MODULE", more=()):
        """Project, product, model, packages and a plan that is not active yet; `more`: further MCUs, each (name, package)."""
        rest = self.center.rest
        project = rest.post("/api/v1/projects", {"name": "zephyr"})["id"]
        product = rest.post("/api/v1/products", {
            "project": project, "name": "p", "product_key": PRODUCT, "product_secret": "s"})["id"]
        components = [{"identifier": module, "name": "module", "type": "Firmware"}]
        if kind == "MCU":
            components += [{"identifier": name, "name": name, "type": "MCU"} for name in (component, *(n for n, _ in more))]
        model = rest.post("/api/v1/models", {
            "project": project, "name": "m", "device_model": "M1", "components": components})["id"]
        steps = [{"component": name, "package": rest.upload(
            package, project=project, name=name, component_type=kind, target_version=target)["id"]}
            for name, package in ((component, self.package), *more)]
        self.plan = rest.post("/api/v1/plans", {
            "project": project, "name": "plan", "product": product, "model": model,
            "components": steps})["id"]

    def start_mcu(self, version="V1_0", protocol="at"):
        self.mcu = subprocess.Popen(
            [self.sota, "--json", "mcu", "--uart", self.wire.name, "--state", os.path.join(self.folder, "mcu"),
             "--component", COMPONENT, "--version", version, "--protocol", protocol],
            stdout=subprocess.PIPE, text=True)

        def read(out=self.mcu.stdout):
            for line in out:
                self.mcu_lines.append(json.loads(line))

        threading.Thread(target=read, daemon=True).start()

    def connect(self, protocol="at"):
        """To where the plan is active and the MCU's version is known."""
        self.furnish()
        self.module.start()
        self.start_mcu(protocol=protocol)
        self.wait("registration with the MCU's version", lambda: self.version() == "V1_0")
        self.activate()

    def judge(self):
        """The upgrade ended well: the Center, the MCU and its flash say the same."""
        end = self.wait("end of the plan", self.ended, 300)
        assert end == "upgraded", self.log()
        assert self.booted() == hashlib.sha256(self.package).hexdigest()
        assert self.wait("new version at the Center", lambda: self.version() == "V2_0")

    def booted(self):
        """SHA-256 of the image that the MCU booted last, after an upgrade."""
        found = [line["sha256"] for line in list(self.mcu_lines) if "updated" in line]
        return found[-1] if found else None

    def device(self):
        devices = self.center.rest.get(f"/api/v1/devices?product_key={PRODUCT}")
        return next((d for d in devices if d["device_key"] == DEVICE), None)

    def version(self, component=COMPONENT):
        device = self.device() or {"components": []}
        return next((c["version"] for c in device["components"] if c["identifier"] == component), None)

    def wait(self, what, condition, seconds=120):
        """What `condition` gives when it is true first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            if self.module.process.poll() is not None:
                raise SystemExit(f"FAILED: the module ended with {self.module.process.returncode} before {what}\n"
                                 + self.module.text()[-3000:])
            time.sleep(0.1)
        raise SystemExit(f"FAILED: no {what} in {seconds} s\n" + self.module.text()[-3000:])

    def activate(self):
        self.center.rest.post(f"/api/v1/plans/{self.plan}/activate", {})

    def ended(self):
        """"upgraded" or "upgrade_failed" once the plan is over for the device."""
        counters = self.center.rest.get(f"/api/v1/plans/{self.plan}")["counters"]
        return next((name for name in ("upgraded", "upgrade_failed") if counters.get(name)), None)

    def log(self):
        device = self.center.rest.get(f"/api/v1/plans/{self.plan}/devices/{DEVICE}")
        return [line["text"] for line in device["log"]]

    def progress(self):
        """Bytes that the module's Plan object reported; from the console, which is nearer."""
        return self.proxy.to_module
