"""`sota …` in Zephyr's shell, on the console's pseudo-terminal."""

import os
import pathlib
import select
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from at import AtModule  # noqa: E402
from fixtures import program  # noqa: E402, F401


class Shell(AtModule):
    def __init__(self, program, folder):
        super().__init__(program, folder)
        self.console_fd = self.open(r"uart connected to pseudotty: (\S+)")

    def type(self, line, until, seconds=5.0):
        os.write(self.console_fd, (line + "\n").encode())
        out, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.console_fd], [], [], 0.1)[0]:
                out += os.read(self.console_fd, 4096)
            if until.encode() in out:
                return out.decode(errors="replace")
        raise AssertionError(f"{line}: no {until!r} in {out!r}")


@pytest.fixture
def shell(program, tmp_path):
    one = Shell(program, tmp_path)
    yield one
    one.kill()


def test_status_versions_and_refusal(shell):
    shell.ok('AT+QIOTMCUVER="STM32","V3"')
    assert "not registered" in shell.type("sota status", "last error:")
    assert "MODULE: 1.0.0 (module)" in shell.type("sota versions", "STM32: V3")
    shell.type("sota confirm", "error 203 AtNotAllowedNow")


def test_at_answers_in_the_shell_and_not_to_the_mcu(shell):
    shell.ok('AT+QIOTMCUVER="STM32","V4"')
    shell.type("sota at AT+QIOTMCUVER?", '+QIOTMCUVER: "STM32","V4"')
    shell.type('sota at AT+QIOTMCUVER="STM32","V5"', "OK")
    time.sleep(0.3)
    assert not select.select([shell.fd], [], [], 0)[0]
    assert shell.ok("AT+QIOTMCUVER?") == ['+QIOTMCUVER: "STM32","V5"']


def test_threads_have_their_names(shell):
    text = shell.type("kernel thread list", "idle")
    for name in ("engine", "cloud", "bridge", "sota_dispatcher"):
        assert name in text
