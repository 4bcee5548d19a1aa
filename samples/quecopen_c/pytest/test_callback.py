"""The whole upgrade from inside the application's event callback."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests/zephyr"))
from fixtures import program, relay, sota  # noqa: E402, F401


def upgrade(world):
    world.furnish()
    world.module.start()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()
    assert world.wait("end of the plan", world.ended) == "upgraded", world.log()
    assert world.wait("new version at the Center", lambda: world.version() == "V2_0")
    # The sample says it only after the CRC-32 of what is in its MCU was right.
    assert "ota update ok: V2_0" in world.module.text()


def test_confirm_read_install_and_version_from_the_callback(relay):
    upgrade(relay(size=200_000, mcu=False))


def test_next_piece_from_the_callback(relay):
    world = relay(size=524_287, mcu=False)
    upgrade(world)
    assert world.module.text().count("ota download complete") == 2
