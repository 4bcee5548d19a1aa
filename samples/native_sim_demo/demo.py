#!/usr/bin/env python3
"""One whole upgrade with the module on native_sim: Center and MCU are `sota` on this PC.

    demo.py PROGRAM [--sota PATH] [--size BYTES] [--kill TIMES]

PROGRAM is zephyr.exe of `west build -b native_sim/native/64`. Exit status 0 only if the MCU booted exactly the
package and the Center says success. --kill: kill -9 of the module at that many moments, with the same flash file.
"""

import argparse
import hashlib
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/zephyr"))
from relay import Relay  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--sota", default=str(ROOT / "target/release/sota"))
    parser.add_argument("--size", type=int, default=256 * 1024)
    parser.add_argument("--kill", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Relay(args.sota, args.program, folder, args.size) as relay:
        relay.furnish()
        relay.module.start()
        relay.start_mcu()
        began = time.monotonic()
        relay.wait("registration with the MCU's version", lambda: relay.version() == "V1_0")
        connected = time.monotonic()
        relay.activate()
        for kill in range(args.kill):
            # Spread over the download.
            wanted = args.size * (kill + 1) // (args.kill + 1)
            relay.wait("download", lambda: relay.proxy.to_module > wanted)
            relay.module.kill()
            print(f"{time.monotonic() - began:6.2f} s  killed after {relay.proxy.to_module} bytes to the module")
            relay.module.start()
        end = relay.wait("end of the plan", relay.ended, 600)
        done = time.monotonic()
        same = relay.booted() == hashlib.sha256(relay.package).hexdigest()
        print(relay.module.text())
        print("\n".join(relay.log()))
        for name, value in [
            ("connect", f"{connected - began:.2f} s"),
            ("upgrade", f"{done - connected:.2f} s"),
            ("package", f"{args.size} bytes"),
            ("Center -> module", f"{relay.proxy.to_module} bytes"),
            ("module -> Center", f"{relay.proxy.to_center} bytes"),
            ("module -> MCU", f"{relay.wire.to_mcu} bytes"),
            ("MCU -> module", f"{relay.wire.to_module} bytes"),
            ("starts of the module", relay.module.starts),
            ("MCU booted the package", "yes" if same else "NO"),
            ("Center", end),
        ]:
            print(f"{name:24} {value}")
        if not same or end != "upgraded":
            raise SystemExit(1)


if __name__ == "__main__":
    main()
