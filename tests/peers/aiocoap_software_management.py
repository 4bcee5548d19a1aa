"""aiocoap as a server that knows only /9 brings a package through `sota module` to `sota mcu`.

usage: aiocoap_software_management.py PATH-OF-SOTA
"""

import asyncio
import hashlib
import random
import sys
import tempfile

import aiocoap

from lwm2m_peer import TEXT, Server, expect, line_with, start, stop

PORT = 56832
PACKAGE = random.Random(9).randbytes(50_000)


async def main(sota):
    server = Server(PACKAGE)
    await server.start(PORT)
    with tempfile.TemporaryDirectory() as state:
        module, lines = await start(
            sota, "--json", "module", "--server", f"coap://127.0.0.1:{PORT}", "--product-key", "p1",
            "--device-key", "d9", "--state", state + "/module", "--uart", "pty",
        )
        mcu = None
        try:
            uart = (await line_with(lines, "uart"))["uart"]
            mcu, mcu_lines = await start(
                sota, "--json", "mcu", "--uart", uart, "--state", state + "/mcu",
                "--component", "STM32", "--version", "V1_0",
            )
            await server.until("registration with /9/0", lambda: "</9/0>" in getattr(server.registration, "links", ""))
            await upgrade(server, mcu_lines)
        finally:
            await stop(*(p for p in (mcu, module) if p))


async def upgrade(server, mcu_lines):
    uri = f"coap://127.0.0.1:{PORT}/package".encode()
    expect(await server.read_int("9/0/7") == 0, "/9/0/7 is 0 at first")
    answer = await server.request(aiocoap.POST, "9/0/4")
    expect(answer.code == aiocoap.METHOD_NOT_ALLOWED, f"install before delivered is 4.05, not {answer.code}")
    answer = await server.request(aiocoap.PUT, "9/0/3", payload=uri, content_format=TEXT)
    expect(answer.code == aiocoap.CHANGED, f"write of the URI: {answer.code}")
    seen = []
    installed = False
    for _ in range(600):
        state = await server.read_int("9/0/7")
        if not seen or seen[-1] != state:
            seen.append(state)
            print("/9/0/7 =", state, flush=True)
        if state == 3 and not installed:
            expect(await server.read_int("9/0/9") == 3, "result 3 (verified) when delivered")
            answer = await server.request(aiocoap.POST, "9/0/4")
            expect(answer.code in (aiocoap.CHANGED, aiocoap.METHOD_NOT_ALLOWED), f"install: {answer.code}")
            installed = True
        if state == 4:
            break
        await asyncio.sleep(0.1)
    expect(seen[-1:] == [4], f"/9/0/7 went {seen}, not to 4 (installed)")
    expect(seen == sorted(seen), f"/9/0/7 went back: {seen}")
    expect(await server.read_int("9/0/9") == 2, "result 2 (installed)")
    line = await line_with(mcu_lines, "updated")
    expect(line["sha256"] == hashlib.sha256(PACKAGE).hexdigest(), f"the MCU's flash holds something else: {line}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    print("ok: a server that knows only /9 brought a package to the MCU")
