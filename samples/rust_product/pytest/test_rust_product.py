"""The product in Rust through a whole upgrade: it decides when, and the component's refusal has a reason."""

import hashlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests/zephyr"))
from fixtures import program, relay, sota  # noqa: E402, F401


def test_it_waits_for_the_battery_then_confirms(relay):
    # Enough for the plan (30 %), not for the product (50 %).
    world = relay(size=100_000, mcu_confirms=False, arguments=["--sota-battery=40"])
    world.furnish()
    world.module.start()
    world.start_mcu()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()
    world.wait("the plan", lambda: "plan: STM32 to V2_0" in world.module.text())
    world.wait("the reason", lambda: "not yet: BatteryTooLow" in world.module.text())
    assert "sota: 7,10701" not in world.module.text() and world.ended() is None
    world.module.kill()
    world.module.command[-1] = "--sota-battery=80"
    world.module.start()
    assert world.wait("end of the plan", world.ended) == "upgraded", world.log()
    assert world.booted() == hashlib.sha256(world.package).hexdigest()
    world.wait("the success in the handler", lambda: "sota: 7,10705" in world.module.text())
    assert "confirmed" in world.module.text()
