"""A whole upgrade through an unusual flash."""

import hashlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from fixtures import program, relay, sota  # noqa: E402, F401


def test_upgrade_with_a_kill(relay):
    world = relay(size=20_001)
    world.furnish()
    world.module.start()
    world.start_mcu()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()
    world.wait("some of the download", lambda: world.proxy.to_module > 9_000)
    world.module.kill()
    world.module.start()
    assert world.wait("end of the plan", world.ended, 250) == "upgraded", world.log()
    assert world.booted() == hashlib.sha256(world.package).hexdigest()
