"""aiocoap as a server that knows only /9 brings a package to an MCU, in both orders: `sota mcu` flashes by itself, and
a host in Python waits for the server's Install.

usage: aiocoap_software_management.py PATH-OF-SOTA
"""

import asyncio
import hashlib
import random
import sys
import tempfile

import aiocoap

from at_host import AtHost
from lwm2m_peer import TEXT, Server, expect, line_with, start, stop

PORT = 56832
PACKAGE = random.Random(9).randbytes(50_000)


def module(sota, port, state, *more):
    return start(
        sota, "--json", "module", "--server", f"coap://127.0.0.1:{port}", "--product-key", "p1",
        "--device-key", "d9", "--state", state + "/module", "--uart", "pty", *more,
    )


def has_software(server):
    return "</9/0>" in getattr(server.registration, "links", "")


async def write_uri(server, port):
    expect(await server.read_int("9/0/7") == 0, "/9/0/7 is 0 at first")
    answer = await server.request(aiocoap.POST, "9/0/4")
    expect(answer.code == aiocoap.METHOD_NOT_ALLOWED, f"install before delivered is 4.05, not {answer.code}")
    uri = f"coap://127.0.0.1:{port}/package".encode()
    answer = await server.request(aiocoap.PUT, "9/0/3", payload=uri, content_format=TEXT)
    expect(answer.code == aiocoap.CHANGED, f"write of the URI: {answer.code}")


async def reaches(server, wanted, seen):
    for _ in range(1200):
        state = await server.read_int("9/0/7")
        if seen[-1:] != [state]:
            seen.append(state)
            print("/9/0/7 =", state, flush=True)
        if state == wanted:
            expect(seen == sorted(seen), f"/9/0/7 went back: {seen}")
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"FAILED: /9/0/7 went {seen}, not to {wanted}")


async def by_itself(sota):
    """`sota mcu` reads, checks, says action 3, reports a new version."""
    server = Server(PACKAGE)
    await server.start(PORT)
    with tempfile.TemporaryDirectory() as state:
        program, lines = await module(sota, PORT, state)
        mcu = None
        try:
            uart = (await line_with(lines, "uart"))["uart"]
            mcu, mcu_lines = await start(
                sota, "--json", "mcu", "--uart", uart, "--state", state + "/mcu",
                "--component", "STM32", "--version", "V1_0",
            )
            await server.until("registration with /9/0", lambda: has_software(server))
            await write_uri(server, PORT)
            await reaches(server, 4, [])
            expect(await server.read_int("9/0/9") == 2, "result 2 (installed)")
            line = await line_with(mcu_lines, "updated")
            expect(line["sha256"] == hashlib.sha256(PACKAGE).hexdigest(), f"the flash holds something else: {line}")
        finally:
            await stop(*(p for p in (mcu, program) if p))
    print("ok: the MCU flashed by itself")


async def by_install(sota):
    """The host waits for 10704, which only the server's Install gives."""
    server = Server(PACKAGE)
    await server.start(PORT + 1)
    with tempfile.TemporaryDirectory() as state:
        program, lines = await module(sota, PORT + 1, state, "--auto-confirm")
        try:
            host = AtHost((await line_with(lines, "uart"))["uart"])
            await asyncio.to_thread(host.command, 'AT+QIOTMCUVER="STM32","V1_0"')
            await server.until("registration with /9/0", lambda: has_software(server))
            await write_uri(server, PORT + 1)
            piece = await asyncio.to_thread(host.event, "7,10703")
            expect(piece == f'"STM32",{len(PACKAGE)},0,{len(PACKAGE)}', f"10703 says {piece}")
            await reaches(server, 3, [])
            expect(await server.read_int("9/0/9") == 3, "result 3 (verified) when delivered")
            answer = await server.request(aiocoap.POST, "9/0/4")
            expect(answer.code == aiocoap.CHANGED, f"install when delivered: {answer.code}")
            await asyncio.to_thread(host.event, "7,10704")
            data = b""
            while len(data) < len(PACKAGE):
                data += await asyncio.to_thread(host.read, len(data), 700)
            expect(data == PACKAGE, "what the host read is not the package")
            await asyncio.to_thread(host.command, "AT+QIOTUPDATE=3")
            await asyncio.to_thread(host.command, 'AT+QIOTMCUVER="STM32","V2_0"')
            await asyncio.to_thread(host.event, "7,10705")
            await reaches(server, 4, [])
            expect(await server.read_int("9/0/9") == 2, "result 2 (installed)")
        finally:
            await stop(program)
    print("ok: the host waited for Install")


if __name__ == "__main__":
    asyncio.run(by_itself(sys.argv[1]))
    asyncio.run(by_install(sys.argv[1]))
    print("ok: a server that knows only /9 brought a package to the MCU")
