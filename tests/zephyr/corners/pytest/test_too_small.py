"""A journal that is too small: said in the log and by the upgrade's failure, never a fault."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401


def test_the_upgrade_fails_with_the_reason(relay):
    world = relay(size=4_096)
    world.furnish()
    world.module.start()
    world.wait("the line in the log", lambda: "JournalTooSmall" in world.module.text(), 20)
    world.start_mcu()
    world.wait("registration", world.device)
    assert world.module.process.poll() is None
