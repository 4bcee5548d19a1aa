"""An STM32 with its ROM loader beside an MCU that speaks AT commands: each hears of its own."""

import hashlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401
from relay import COMPONENT, SENSOR  # noqa: E402

PROTOCOL = "at"


def connect(world):
    world.chip.start()
    world.module.start()
    world.start_mcu(protocol=PROTOCOL)
    world.wait("registration with both versions",
               lambda: world.version() == "V1_0" and world.version(SENSOR) == "V1_0")
    world.activate()


def ended_well(world):
    assert world.wait("end of the plan", world.ended, 300) == "upgraded", world.log()


def test_both_in_one_plan(relay):
    world = relay(size=16 * 1024, chip="stm32")
    image = os.urandom(10_000)
    world.furnish(more=[(SENSOR, image)])
    connect(world)
    ended_well(world)
    assert world.wait("both versions", lambda: world.version() == "V2_0" and world.version(SENSOR) == "V2_0")
    assert world.booted() == hashlib.sha256(world.package).hexdigest()
    assert world.chip.flash().startswith(image)


def test_the_chip_first_and_a_kill_in_each_half(relay):
    world = relay(size=10_000, chip="stm32")
    image = os.urandom(16 * 1024)
    world.furnish(component=SENSOR, more=[(COMPONENT, image)])
    connect(world)
    for what, reached in (
            ("half of the chip's flash", lambda: world.chip.wire.to_mcu > 7_000),
            ("half of the MCU's image", lambda: world.wire.to_mcu > len(image) // 2)):
        world.wait(what, reached)
        world.module.kill()
        world.module.start()
    ended_well(world)
    assert world.chip.flash().startswith(world.package)
    assert world.booted() == hashlib.sha256(image).hexdigest()


def test_a_plan_of_the_chip_alone_is_nothing_to_the_mcu(relay):
    world = relay(size=10_000, chip="stm32")
    world.furnish(component=SENSOR)
    connect(world)
    ended_well(world)
    assert world.chip.flash().startswith(world.package)
    assert world.booted() is None
    assert not any(line.get("event") in ("plan", "piece", "confirmed") or "updated" in line for line in world.mcu_lines)
    assert world.version() == "V1_0"
