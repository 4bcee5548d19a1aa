"""Whole upgrades with the module on an emulated Arm processor, against `sota center` and `sota mcu`."""

import hashlib
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import sota  # noqa: E402, F401
from qemu import BoardRelay  # noqa: E402


@pytest.fixture
def world(request, sota, tmp_path):  # noqa: F811
    image = ["-kernel", os.path.join(request.config.getoption("--build-dir"), "zephyr/zephyr.elf")]
    with BoardRelay(sota, image, str(tmp_path)) as made:
        yield made
        assert "FATAL" not in made.module.text()


def begin(world):
    world.furnish()
    world.module.start()
    world.start_mcu()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()


def judge(world):
    assert world.wait("end of the plan", world.ended, 200) == "upgraded", world.log()
    assert world.booted() == hashlib.sha256(world.package).hexdigest()
    assert world.wait("new version at the Center", lambda: world.version() == "V2_0")


def test_whole_upgrade(world):
    begin(world)
    judge(world)
    assert world.proxy.to_module < 1.1 * len(world.package)


def test_power_goes_at_three_moments(world):
    """The same flash: what was durable is not fetched again."""
    begin(world)
    size = len(world.package)
    for name, reached in [
        ("a third of the download", lambda: world.proxy.to_module > size // 3),
        ("two thirds of the download", lambda: world.proxy.to_module > size * 2 // 3),
        ("half of the MCU's reading", lambda: world.wire.to_mcu > size // 2),
    ]:
        world.wait(name, reached)
        world.module.kill()
        world.module.start()
    judge(world)
    assert world.module.starts == 4
    assert world.proxy.to_module < 1.15 * size
