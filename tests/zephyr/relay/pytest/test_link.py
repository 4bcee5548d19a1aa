"""Whole upgrades over the binary link: `sota center`, and an MCU with the library of crates/mcu at the UART."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401


def test_whole_upgrade(relay):
    world = relay(size=256 * 1024)
    world.connect("link")
    world.judge()
    # One transfer on either side: the package and some percent.
    assert world.proxy.to_module < 1.1 * len(world.package)
    assert world.wire.to_mcu < 1.05 * len(world.package)


def test_package_larger_than_staging_goes_in_pieces(relay):
    world = relay(size=700_001)
    world.connect("link")
    world.judge()
    assert world.wire.to_mcu < 1.05 * len(world.package)


def test_kill_9_at_three_moments(relay):
    """What is durable in either flash is not sent again."""
    world = relay(size=256 * 1024)
    world.connect("link")
    size = len(world.package)
    moments = [
        ("half of the download", lambda: world.proxy.to_module > size // 2),
        ("half of the transfer to the MCU", lambda: world.wire.to_mcu > size // 2),
        ("the MCU installs", lambda: "event 7,10704" in world.module.text()),
    ]
    for name, reached in moments:
        world.wait(name, reached)
        world.module.kill()
        world.module.start()
    world.judge()
    assert world.module.starts == 4
    assert world.proxy.to_module < 1.2 * size
    assert world.wire.to_mcu < 1.2 * size
