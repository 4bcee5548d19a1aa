"""`sota …` in Zephyr's shell, on the console's pseudo-terminal."""

import hashlib
import pathlib
import re
import select
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from at import CONSOLE, AtModule, Console, open_pty  # noqa: E402
from fixtures import program, relay, sota  # noqa: E402, F401


class Shell(AtModule):
    def __init__(self, program, folder):
        super().__init__(program, folder)
        self.type = Console(self.open(CONSOLE)).type


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


def test_nothing_to_cancel_and_nothing_in_the_log(shell):
    shell.type("sota cancel", "error 203 AtNotAllowedNow")
    assert "7,107" not in shell.type("sota log", "now, since the start")


def logged(text):
    """What `sota log` printed, without the times, which must not go back."""
    lines = re.findall(r"^ *(\d+):(\d\d):(\d\d)  (.*?)\r?$", text, re.MULTILINE)
    times = [int(h) * 3600 + int(m) * 60 + int(s) for h, m, s, _ in lines]
    assert times == sorted(times), text
    return [what for *_, what in lines]


def test_cancel_in_mid_download_and_one_more_try(relay):
    """The network stands still while the user cancels: the Center hears it later, and its retry goes through."""
    still = []
    world = relay(size=200_000, lose=lambda _number: bool(still))
    world.furnish()
    world.module.start()
    console = Console(open_pty(world.module.text, CONSOLE))
    world.start_mcu()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()
    world.wait("some of the download", lambda: world.proxy.to_module > 50_000)
    still.append(True)
    assert re.search(r"upgrade: +5 \(downloading\)", console.type("sota status", "last error:"))
    console.type("sota cancel", "OK")
    assert "last error: 1 RefusedByHost" in console.type("sota status", "RefusedByHost")
    still.clear()
    assert world.wait("end of the plan", world.ended) == "upgrade_failed", world.log()
    assert any("gave up the upgrade" in line or "RefusedByHost" in line for line in world.log()), world.log()
    assert world.version() == "V1_0" and world.booted() is None
    world.center.rest.post(f"/api/v1/plans/{world.plan}/devices/device-1/retry", {})
    assert world.wait("end of the second try", lambda: world.ended() == "upgraded")
    assert world.booted() == hashlib.sha256(world.package).hexdigest()
    text = console.type("sota log", "now, since the start")
    lines = logged(text)
    wanted = ["access ok (10200)", "a plan waits for confirm or refuse", "download starts: 200000 bytes",
              "failure: 1 RefusedByHost", "a plan waits for confirm or refuse", "download starts: 200000 bytes",
              "a piece can be read: 200000 bytes are here", "the new image is being installed", "success"]
    rest = iter(lines)
    assert all(any(line == want for line in rest) for want in wanted), lines
