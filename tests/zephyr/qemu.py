"""The module in QEMU (mps2/an385): an Arm processor, its Ethernet behind QEMU's user network, its flash a file.

  Center <-UDP-> proxy <-UDP-> QEMU's network <-Ethernet-> module <-pty-> wire <-pty-> MCU
"""

import os
import pathlib
import re
import select
import subprocess
import sys
import time
import tty

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from relay import Center, Module, Proxy, Relay, Wire  # noqa: E402

PSRAM = 16 * 1024 * 1024
# Where QEMU's network reaches the PC.
HOST = "10.0.2.2"


class Board(Module):
    """QEMU; ends and starts like a module whose power goes. The file behind the board's PSRAM holds the flash."""

    def __init__(self, folder, port, wire, image):
        self.flash = pathlib.Path(folder, "flash.bin")
        if not self.flash.exists():
            self.flash.write_bytes(b"\xff" * PSRAM)
        super().__init__("qemu-system-arm", folder, "", wire)
        self.command = [
            "qemu-system-arm", "-cpu", "cortex-m3", "-display", "none", "-monitor", "none",
            "-machine", "mps2-an385,memory-backend=psram",
            "-object", f"memory-backend-file,id=psram,size={PSRAM},mem-path={self.flash},share=on",
            "-nic", "user,model=lan9118", "-serial", "stdio", "-serial", "pty", *image]
        self.port = port
        self.uart = None

    def start(self):
        began = self.console.stat().st_size
        with self.console.open("a") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT)
        self.starts += 1
        self.uart = self.wait(r"redirected to (\S+) \(label serial1\)", began)
        self.wait("sota,journal", began)
        if self.starts == 1:
            self.say('AT+QIOTCFG="server",0,"coap://%s:%d"' % (HOST, self.port))
            self.say("AT+QIOTREG=2")
        for wire in self.wires.values():
            wire.attach(self.uart)

    def wait(self, what, began, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = re.search(what, self.console.read_bytes()[began:].decode(errors="replace"))
            if found:
                return found[1] if found.groups() else found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit(f"FAILED: no {what} on the console\n" + self.text()[-3000:])

    def say(self, line, seconds=20):
        """One AT command whose answer is OK, with nothing else at the UART."""
        fd = os.open(self.uart, os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(fd)
            os.write(fd, (line + "\r").encode())
            deadline, out = time.monotonic() + seconds, b""
            while time.monotonic() < deadline:
                if select.select([fd], [], [], 0.1)[0]:
                    out += os.read(fd, 4096)
                if out.endswith(b"\r\nOK\r\n"):
                    return
            raise SystemExit(f"FAILED: {line}: {out!r}\n" + self.text()[-3000:])
        finally:
            os.close(fd)


class BoardRelay(Relay):
    """A whole upgrade with the module in QEMU; `image`: QEMU's options for what it runs."""

    def __init__(self, sota, image, folder, size=256 * 1024, mcu=True, lose=None):
        # Not as for a program of the PC: the module reaches the proxy, also for its packages, by another address.
        self.sota, self.folder = sota, folder
        self.package = os.urandom(size)
        self.proxy = Proxy(lose)
        self.center = Center(sota, os.path.join(folder, "center"), "--coap-public", f"{HOST}:{self.proxy.port}")
        self.proxy.center = ("127.0.0.1", self.center.coap_port)
        self.wire = Wire() if mcu else None
        self.chip = None
        self.module = Board(folder, self.proxy.port, self.wire, image)
        self.mcu = None
        self.mcu_lines = []
        self.plan = None
