"""The product in C through a whole upgrade: its callback confirms, the MCU does not."""

import hashlib
import pathlib
import re
import sys

SAMPLE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SAMPLE.parents[1] / "tests/zephyr"))
from fixtures import program, relay, sota  # noqa: E402, F401


def test_its_callback_confirms_and_hears_the_success(relay):
    world = relay(size=100_000, mcu_confirms=False)
    world.furnish()
    world.module.start()
    world.start_mcu()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()
    assert world.wait("end of the plan", world.ended) == "upgraded", world.log()
    assert world.booted() == hashlib.sha256(world.package).hexdigest()
    world.wait("the success in the callback", lambda: "sota: 7,10705" in world.module.text())
    assert 'sota: 7,10700 "STM32","","V2_0"' in world.module.text()


def test_it_is_under_40_lines_of_code():
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", (SAMPLE / "src/main.c").read_text(), flags=re.DOTALL)
    code = [line for line in text.splitlines() if line.strip()]
    assert 10 < len(code) < 40, f"{len(code)} lines of C without comments and blank lines"
