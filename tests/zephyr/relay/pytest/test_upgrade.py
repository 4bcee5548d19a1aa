"""Whole upgrades against `sota center`, with `sota mcu` at the UART."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401


def test_whole_upgrade(relay):
    world = relay(size=256 * 1024)
    world.connect()
    world.judge()
    # One transfer: the package and some percent.
    assert world.proxy.to_module < 1.1 * len(world.package)


def test_package_larger_than_staging_goes_in_pieces(relay):
    world = relay(size=700_001)
    world.connect()
    world.judge()
    pieces = [line for line in world.mcu_lines if line.get("event") == "piece"]
    assert [piece["start"] for piece in pieces][0] == 0 and len({piece["start"] for piece in pieces}) == 2


def test_every_seventh_datagram_is_lost(relay):
    world = relay(size=40_000, lose=lambda number: number % 7 == 0)
    world.connect()
    world.judge()


def test_kill_9_at_five_moments(relay):
    """The same flash file: what was durable is not fetched again, and the upgrade ends as if nothing had been."""
    world = relay(size=256 * 1024)
    world.connect()
    size = len(world.package)
    moments = [
        ("a quarter of the download", lambda: world.proxy.to_module > size // 4),
        ("half of the download", lambda: world.proxy.to_module > size // 2),
        ("three quarters of the download", lambda: world.proxy.to_module > size * 3 // 4),
        ("half of the MCU's reading", lambda: world.wire.to_mcu > size // 2),
        ("the MCU flashes", lambda: "event 7,10704" in world.module.text()),
    ]
    for name, reached in moments:
        world.wait(name, reached)
        world.module.kill()
        world.module.start()
    world.judge()
    assert world.module.starts == 6
    # Three kills in mid-download cost some blocks, not the download.
    assert world.proxy.to_module < 1.2 * size

