"""The connection manager's word: a module whose network comes back does not sit out a pause or a time-out."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from at import CONSOLE, Console, open_pty  # noqa: E402
from fixtures import program, relay, sota  # noqa: E402, F401


def test_link_down_and_up_registers_at_once(relay):
    still = [True]
    world = relay(size=1_000, lose=lambda _number: bool(still))
    world.furnish()
    world.module.start()
    console = Console(open_pty(world.module.text, CONSOLE))
    # The monitor wants an address; the interface is up from the start.
    console.type("net ipv4 add 1 192.0.2.1 255.255.255.0", "network up")
    console.type("net iface down 1", "network down")
    # Sent again after 2 to 3 s, 6 to 9 s and 14 to 21 s: from 10 s on there is silence for 4 s at least.
    time.sleep(10)
    sent = world.proxy.datagrams
    still.clear()
    time.sleep(1)
    assert world.proxy.datagrams == sent and world.device() is None, "it would have come without the event"
    console.type("net iface up 1", "network up")
    began = time.monotonic()
    world.wait("registration", world.device, 10)
    assert time.monotonic() - began < 2
