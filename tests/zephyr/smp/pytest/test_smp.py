"""Whole upgrades of an MCU with MCUmgr and MCUboot by SMP: `sota center`, the module's second UART and `sota mcu --protocol smp`."""

import hashlib
import os
import pathlib
import struct
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401
from relay import SENSOR  # noqa: E402

SIZE = 15_000


def image(size):
    """Version 2.0.0, as imgtool makes it without a key: header, body, SHA-256 in the TLVs."""
    header = struct.pack("<IIHHIIBBHI", 0x96F3B83D, 0, 32, 0, size, 0, 2, 0, 0, 0).ljust(32, b"\0")
    signed = header + os.urandom(size)
    return signed + struct.pack("<HHHH", 0x6907, 40, 0x10, 32) + hashlib.sha256(signed).digest()


def begin(world):
    world.chip.start()
    world.module.start()
    # What the server says of the image that runs.
    world.wait("registration with the MCU's version", lambda: world.version(SENSOR) == "1.0.0")


@pytest.fixture
def world(relay):
    """To where the plan is active; module and MCU run."""
    world = relay(mcu=False, chip="smp")
    world.package = image(SIZE)
    world.furnish(component=SENSOR)
    begin(world)
    world.activate()
    return world


def judge(world, package):
    assert world.wait("end of the plan", world.ended, 300) == "upgraded", world.log()
    assert world.wait("new version at the Center", lambda: world.version(SENSOR) == "V2_0")
    assert world.chip.version == "2.0.0", world.chip.events
    is_there = package in world.chip.flash()
    assert is_there, "the flash holds something else"


def test_whole_upgrade(world):
    judge(world, world.package)
    assert "SENSOR: the new image was verified and runs" in world.module.text()


def test_kill_9_of_the_module_at_three_moments(world):
    moments = [
        ("half of the download", lambda: world.proxy.to_module > SIZE // 2),
        ("half of the upload", lambda: world.chip.wire.to_mcu > SIZE // 2),
        ("the installation", lambda: "event 7,10704" in world.module.text()),
    ]
    for name, reached in moments:
        world.wait(name, reached)
        world.module.kill()
        world.module.start()
    judge(world, world.package)
    assert world.module.starts == 4


def test_the_power_of_the_mcu_goes_and_comes_back(world):
    world.wait("half of the upload", lambda: world.chip.wire.to_mcu > SIZE // 2)
    world.chip.kill()
    world.wait("a warning", lambda: "SENSOR: error 643 SmpSilent (docs/errors.md)" in world.module.text())
    world.chip.start()
    judge(world, world.package)


def test_beside_an_mcu_with_at_commands_in_one_plan(relay):
    world = relay(size=10_000, chip="smp")
    other = image(SIZE)
    world.furnish(more=[(SENSOR, other)])
    begin(world)
    world.start_mcu()
    world.wait("registration with the other version", lambda: world.version() == "V1_0")
    world.activate()
    judge(world, other)
    assert world.booted() == hashlib.sha256(world.package).hexdigest()
