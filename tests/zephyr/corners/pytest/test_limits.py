"""CONFIG_SOTA_MIN_BATTERY_PERCENT counts also where the plan asks for less."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401


def test_below_the_products_own_limit_nothing_begins(relay):
    # The plan's default limit is 30 %.
    world = relay(size=4_096, arguments=["--sota-battery=40"])
    world.furnish()
    world.module.start()
    world.start_mcu()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()
    world.wait("the plan", lambda: "event 7,10700" in world.module.text())
    time.sleep(3)
    assert "event 7,10701" not in world.module.text() and world.ended() is None
    world.module.kill()
    world.module.command[-1] = "--sota-battery=60"
    world.module.start()
    assert world.wait("end of the plan", world.ended) == "upgraded", world.log()
