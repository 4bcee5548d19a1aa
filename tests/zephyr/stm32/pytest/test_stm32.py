"""Whole upgrades of an STM32 through its ROM loader: `sota center`, the module's second UART and its emulated GPIOs, and
`sota mcu --protocol stm32` as the chip."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401
from relay import SENSOR  # noqa: E402

SIZE = 12_289


@pytest.fixture
def world(relay):
    """To where the plan is active; the module and the chip run."""
    world = relay(size=SIZE, mcu=False, chip="stm32")
    world.furnish(component=SENSOR)
    world.chip.start()
    world.module.start()
    world.wait("registration with the chip's version", lambda: world.version(SENSOR) == "V1_0")
    assert world.chip.events[-1:] in ([], ["application"]), "a running MCU is left alone"
    world.activate()
    return world


def judge(world):
    assert world.wait("end of the plan", world.ended, 300) == "upgraded", world.log()
    assert world.wait("new version at the Center", lambda: world.version(SENSOR) == "V2_0")
    assert world.chip.flash().startswith(world.package)
    world.wait("start of the new image", lambda: world.chip.events[-1:] == ["application"])


def test_whole_upgrade(world):
    judge(world)
    assert world.proxy.to_module < 1.1 * SIZE + 20_000
    assert "SENSOR: the new image was verified and runs" in world.module.text()


def test_kill_9_of_the_module_at_four_moments(world):
    """Its outputs float: BOOT0 is low, and a chip whose image is not whole runs nothing."""
    moments = [
        ("half of the download", lambda: world.proxy.to_module > SIZE // 2),
        ("the first bytes to the chip", lambda: world.chip.wire.to_mcu > 100),
        ("half of the flash", lambda: world.chip.wire.to_mcu > 100 + SIZE // 2),
        ("the end of the flash", lambda: "event 7,10704" in world.module.text()),
    ]
    for name, reached in moments:
        world.wait(name, reached)
        world.module.kill()
        world.module.start()
    judge(world)
    assert world.module.starts == 5


def test_the_power_of_the_chip_goes_and_comes_back(world):
    """While it is away the loader is silent, with a number in the log."""
    world.wait("half of the flash", lambda: world.chip.wire.to_mcu > SIZE // 2)
    world.chip.kill()
    assert not world.chip.flash().startswith(world.package)
    world.wait("a warning", lambda: "SENSOR: error 630 RomSilent (docs/errors.md)" in world.module.text())
    world.chip.start()
    judge(world)
