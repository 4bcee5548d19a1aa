#!/usr/bin/env python3
"""PyPI's smpclient and imgtool against the simulated SMP server: echo, parameters, slots, an upload that is interrupted and goes on,
test, reset, confirm, what is not confirmed goes back, and refusals; with the server's log on the same line too.

    smpclient.py PATH-OF-SOTA      needs smpclient[serial] and imgtool in this Python
"""

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.pop(0)  # this folder, which has a smpclient of its own: this file

from smp.image_management import IMG_MGMT_ERR
from smpclient import SMPClient
from smpclient.generics import error, success
from smpclient.requests.image_management import (
    ImageErase,
    ImageStatesRead,
    ImageStatesWrite,
    ImageUploadWrite,
)
from smpclient.requests.os_management import EchoWrite, MCUMgrParametersRead, ResetWrite
from smpclient.transport.serial import SMPSerialTransport

SOTA = Path(sys.argv[1]).resolve()
IMGTOOL = Path(sys.executable).parent / "imgtool"


class Mcu:
    """`sota mcu --protocol smp`, for as long as the block lasts."""

    def __init__(self, folder, *options):
        self.arguments = [SOTA, "--json", "mcu", "--protocol", "smp", "--uart", "pty"]
        self.arguments += ["--state", folder, "--component", "STM32", "--version", "1.0.0"]
        self.arguments += options

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            self.uart = json.loads(line).get("uart")
            if self.uart:
                return self
        sys.exit("FAILED: the simulated MCU did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def until(self, event):
        """Waits until the MCU says this of itself."""
        for line in self.process.stdout:
            line = json.loads(line)
            if line.get("event") == event:
                return line
        sys.exit(f"FAILED: the MCU ended before it said {event}")


def image(folder, version, size, body=b"", *options):
    plain, signed = folder / "plain.bin", folder / f"{version}.bin"
    plain.write_bytes(body + random.Random(version).randbytes(size))
    sign = [IMGTOOL, "sign", "--header-size", "0x200", "--pad-header", "--align", "8"]
    sign += ["--slot-size", "0x40000", "--version", version, *options, plain, signed]
    subprocess.run(sign, check=True, stdout=subprocess.DEVNULL)
    return signed.read_bytes()


def tlv_hash(signed):
    """The image's SHA-256 as imgtool verifies it: over all before the TLVs."""
    size = int.from_bytes(signed[12:16], "little")
    protected = int.from_bytes(signed[10:12], "little")
    return hashlib.sha256(signed[: 0x200 + size + protected]).digest()


async def ask(client, request, **options):
    answer = await client.request(request, **options)
    assert success(answer), f"{request} was answered by {answer}"
    return answer


async def refused(client, request, code):
    answer = await client.request(request)
    assert error(answer), f"{request} was not refused: {answer}"
    assert answer.err.rc == code, f"{answer} is not {code!r}"


async def slots(client):
    """What each slot is: version, and the flags that are set."""
    answer = await ask(client, ImageStatesRead())
    names = ("active", "confirmed", "pending", "permanent")
    return {s.slot: (s.version, *(n for n in names if getattr(s, n))) for s in answer.images}


async def upload(client, signed, stop_at=None):
    """The offsets that the server told."""
    offsets = []
    async for offset in client.upload(signed):
        offsets.append(offset)
        if stop_at is not None and offset >= stop_at:
            break
    return offsets


async def reset(client, mcu):
    await ask(client, ResetWrite())
    mcu.until("booting")
    return mcu.until("running")


async def whole(mcu, folder):
    """Echo, parameters, an upload that was interrupted goes on, test, revert, confirm, for good at once, erase."""
    new, newer = image(folder, "2.0.0", 30_000), image(folder, "3.1.4+15", 20_001)
    async with SMPClient(SMPSerialTransport(), mcu.uart) as client:
        assert (await ask(client, EchoWrite(d="Grüße"))).r == "Grüße"
        parameters = await ask(client, MCUMgrParametersRead())
        assert (parameters.buf_size, parameters.buf_count) == (384, 4), parameters
        assert await slots(client) == {0: ("1.0.0", "active", "confirmed")}

        # interrupted, and gone on with by another client
        first = await upload(client, new, stop_at=10_000)
    async with SMPClient(SMPSerialTransport(), mcu.uart) as client:
        rest = await upload(client, new)
        assert rest[0] == first[-1], f"it did not go on: {first[-1]}, {rest[0]}"
        assert rest[-1] == len(new)
        assert (await slots(client))[1] == ("2.0.0",)
        states = await ask(client, ImageStatesRead())
        assert states.images[1].hash == tlv_hash(new), "the hash is not the image's"

        # tested, and not confirmed: it goes back
        await ask(client, ImageStatesWrite(hash=tlv_hash(new)))
        assert await slots(client) == {0: ("1.0.0", "active", "confirmed"), 1: ("2.0.0", "pending")}
        await refused(client, ImageErase(), IMG_MGMT_ERR.NO_FREE_SLOT)
        await reset(client, mcu)
        assert await slots(client) == {0: ("2.0.0", "active"), 1: ("1.0.0", "confirmed")}
        await refused(client, ImageStatesWrite(hash=tlv_hash(new)), IMG_MGMT_ERR.IMAGE_SETTING_TEST_TO_ACTIVE_DENIED)
        await reset(client, mcu)
        assert await slots(client) == {0: ("1.0.0", "active", "confirmed"), 1: ("2.0.0",)}

        # tested and confirmed: it stays
        await ask(client, ImageStatesWrite(hash=tlv_hash(new)))
        await reset(client, mcu)
        await ask(client, ImageStatesWrite(confirm=True))
        await reset(client, mcu)
        assert await slots(client) == {0: ("2.0.0", "active", "confirmed"), 1: ("1.0.0",)}

        # another one, for good at once, with a build number
        assert (await upload(client, newer))[-1] == len(newer)
        await ask(client, ImageStatesWrite(hash=tlv_hash(newer), confirm=True))
        assert (await slots(client))[1] == ("3.1.4.15", "pending", "permanent")
        await reset(client, mcu)
        assert await slots(client) == {0: ("3.1.4.15", "active", "confirmed"), 1: ("2.0.0",)}

        await ask(client, ImageErase())
        assert list(await slots(client)) == [0], "the slot was not erased"


async def refusals(mcu, folder):
    """What is no image, too large, older, unknown is refused with Zephyr's codes; a wrong offset is told the right one."""
    signed = image(folder, "2.0.0", 5_000)
    async with SMPClient(SMPSerialTransport(), mcu.uart) as client:
        def first(data, **more):
            return ImageUploadWrite(off=0, data=data, len=more.pop("len", len(signed)), **more)

        await refused(client, first(b"no image" * 8), IMG_MGMT_ERR.INVALID_IMAGE_HEADER_MAGIC)
        await refused(client, first(signed[:16]), IMG_MGMT_ERR.INVALID_IMAGE_HEADER)
        await refused(client, first(signed[:64], len=1 << 28), IMG_MGMT_ERR.INVALID_IMAGE_TOO_LARGE)
        await refused(client, ImageStatesWrite(hash=bytes(32)), IMG_MGMT_ERR.HASH_NOT_FOUND)
        old = image(folder, "0.9.0", 1_000)
        await refused(client, ImageUploadWrite(off=0, data=old[:64], len=len(old), upgrade=True), IMG_MGMT_ERR.CURRENT_VERSION_IS_NEWER)
        # a part that is not the next one is dropped, and the place told
        assert (await ask(client, first(signed[:100]))).off == 100
        assert (await ask(client, ImageUploadWrite(off=200, data=signed[200:300]))).off == 100
        assert (await ask(client, ImageUploadWrite(off=100, data=signed[100:200]))).off == 200
        # after a reset the server knows of no upload
        await reset(client, mcu)
        assert (await ask(client, ImageUploadWrite(off=200, data=signed[200:300]))).off == 0


async def never_comes_up(mcu, folder):
    """An image that hangs: the watchdog resets it, and the old one is there again."""
    signed = image(folder, "2.0.0", 3_000, b"HANG")
    async with SMPClient(SMPSerialTransport(), mcu.uart) as client:
        await upload(client, signed)
        await ask(client, ImageStatesWrite(hash=tlv_hash(signed)))
        await ask(client, ResetWrite())
        mcu.until("hung")
        mcu.until("running")
        assert await slots(client) == {0: ("1.0.0", "active", "confirmed"), 1: ("2.0.0",)}


async def with_a_log(mcu, folder):
    """The server's log stands between frames and their lines, and harms few of them."""
    async with SMPClient(SMPSerialTransport(), mcu.uart) as client:
        good = 0
        for number in range(60):
            try:
                answer = await client.request(EchoWrite(d=f"{number}" * 40), timeout_s=0.5)
                assert answer.r == f"{number}" * 40
                good += 1
            except Exception as e:  # the log went into the line
                print(f"    {type(e).__name__} at {number}")
        assert good >= 50, f"{good} of 60 echoes came through the log"


async def main():
    cases = [
        (whole, []),
        (refusals, []),
        (never_comes_up, ["--watchdog-ms", "500"]),
        (with_a_log, ["--logs"]),
    ]
    for case, options in cases:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            with Mcu(folder / "mcu", *options) as mcu:
                mcu.until("running")
                await asyncio.wait_for(case(mcu, folder), 120)
        print(f"ok: {case.__name__}: {case.__doc__}")


asyncio.run(main())
