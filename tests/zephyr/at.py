"""AT commands by hand over the module's pseudo-terminal."""

import os
import pathlib
import re
import select
import subprocess
import time
import tty


class Console:
    """Zephyr's shell on the console's pseudo-terminal."""

    def __init__(self, fd):
        self.fd = fd

    def type(self, line, until, seconds=5.0):
        """What came back up to `until`."""
        os.write(self.fd, (line + "\n").encode())
        out, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                out += os.read(self.fd, 4096)
            if until.encode() in out:
                return out.decode(errors="replace")
        raise AssertionError(f"{line}: no {until!r} in {out!r}")


CONSOLE = r"uart connected to pseudotty: (\S+)"


def open_pty(read_console, what):
    """The pseudo-terminal whose name stands in the program's output."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = re.search(what, read_console())
        if found:
            fd = os.open(found[1], os.O_RDWR | os.O_NOCTTY)
            tty.setraw(fd)
            return fd
        time.sleep(0.02)
    raise AssertionError("the module does not start: " + read_console())


class AtModule:
    """A native_sim program and the MCU's end of its UART."""

    def __init__(self, program, folder, *arguments):
        self.console = pathlib.Path(folder, "console.log")
        with self.console.open("w") as log:
            self.process = subprocess.Popen(
                [program, f"--flash={folder}/flash.bin", *arguments], stdout=log, stderr=subprocess.STDOUT)
        self.fd = self.open(r"uart_1 connected to pseudotty: (\S+)")

    def open(self, what):
        return open_pty(lambda: self.console.read_text(errors="replace"), what)

    def kill(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)

    def say(self, line, seconds=3.0):
        """Lines of the answer with the final OK or ERROR; and how long it took in seconds."""
        os.write(self.fd, (line + "\r").encode())
        began, out = time.monotonic(), b""
        while time.monotonic() - began < seconds:
            if select.select([self.fd], [], [], 0.05)[0]:
                out += os.read(self.fd, 4096)
            if re.search(rb"\r\n(OK|ERROR)\r\n$", out):
                lines = [part for part in out.decode().split("\r\n") if part]
                return lines, time.monotonic() - began
        raise AssertionError(f"{line}: no answer, only {out!r}")

    def ok(self, line):
        lines, _ = self.say(line)
        assert lines[-1] == "OK", (line, lines)
        return [text for text in lines[:-1] if not text.startswith("+QIOTEVT")]

    def error(self, line):
        lines, _ = self.say(line)
        assert lines[-1] == "ERROR", (line, lines)
        return int(self.ok("AT+SOTAERR?")[0].split()[1].split(",")[0])
