"""A host MCU that speaks the AT commands of QuecThing's public documents over a tty; nothing of it is shared with
the code under test."""

import os
import queue
import re
import threading
import time
import tty


class AtHost:
    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)
        self.buffer, self.events, self.arrived = b"", queue.Queue(), threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                return
            with self.arrived:
                self.buffer += data
                self.arrived.notify()

    def _line(self, deadline):
        """The next non-empty line, without its CR LF; None after the deadline."""
        while True:
            with self.arrived:
                self.buffer = self.buffer.lstrip(b"\r\n")
                line, end, rest = self.buffer.partition(b"\r\n")
                if end:
                    self.buffer = rest
                    return line.decode()
                if not self.arrived.wait(max(0, deadline - time.monotonic())):
                    return None

    def command(self, text, seconds=5):
        """Sends one command; its answer lines. Fails unless it ends with OK."""
        os.write(self.fd, text.encode() + b"\r")
        answer = []
        while (line := self._line(time.monotonic() + seconds)) is not None:
            if line.startswith("+QIOTEVT: "):
                self.events.put(line[10:])
            elif line in ("OK", "ERROR"):
                if line == "ERROR":
                    raise SystemExit(f"FAILED: {text}: ERROR")
                return answer
            else:
                answer.append(line)
        raise SystemExit(f"FAILED: {text}: no answer")

    def read(self, start, length):
        """AT+QIOTOTARD: the raw bytes, as many as the module gave."""
        os.write(self.fd, f"AT+QIOTOTARD={start},{length}\r".encode())
        line = self._line(time.monotonic() + 5)
        while line is not None and line.startswith("+QIOTEVT: "):
            self.events.put(line[10:])
            line = self._line(time.monotonic() + 5)
        match = re.fullmatch(r"\+QIOTOTARD: (\d+),(\d+)", line or "")
        if not match or int(match[1]) != start:
            raise SystemExit(f"FAILED: AT+QIOTOTARD={start},{length}: {line}")
        count = int(match[2])
        with self.arrived:
            while len(self.buffer) < count + 8:  # CR LF, OK and their like follow the bytes
                if not self.arrived.wait(5):
                    raise SystemExit("FAILED: the data of AT+QIOTOTARD is cut")
            data, self.buffer = self.buffer[:count], self.buffer[count:]
        if self._line(time.monotonic() + 5) != "OK":
            raise SystemExit("FAILED: no OK behind the data of AT+QIOTOTARD")
        return data

    def event(self, code, seconds=60):
        """Waits for the event with this code (`7,10703`); its payload."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            while self.events.empty() and (line := self._line(time.monotonic() + 0.1)):
                if line.startswith("+QIOTEVT: "):
                    self.events.put(line[10:])
            if not self.events.empty():
                text = self.events.get()
                if text == code or text.startswith(code + ","):
                    return text[len(code) + 1 :]
        raise SystemExit(f"FAILED: event {code} did not come in {seconds} s")
