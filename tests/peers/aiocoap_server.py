"""aiocoap as LwM2M server to `sota module`: registration, the formats, discovery, observation, Send, farewell.

usage: aiocoap_server.py PATH-OF-SOTA
"""

import asyncio
import sys
import tempfile

import aiocoap

from lwm2m_peer import LINK, SENML_CBOR, TEXT, TLV, Server, expect, line_with, senml, start, stop, tlv

PORT = 56831


async def main(sota):
    server = Server()
    await server.start(PORT)
    with tempfile.TemporaryDirectory() as state:
        module, lines = await start(
            sota, "--json", "module", "--server", f"coap://127.0.0.1:{PORT}", "--product-key", "p1",
            "--device-key", "d1", "--state", state, "--uart", "pty",
        )
        try:
            await conversation(server, lines)
        finally:
            module.terminate()
            code = await module.wait()
        await server.until("the module says good-bye (DELETE)", lambda: server.deregistrations == 1)
        expect(code == 0, f"the module ended with {code}")


async def conversation(server, lines):
    await line_with(lines, "uart")
    await server.until("registration", lambda: server.registration is not None)
    r = server.registration
    expect(r.query.get("ep") == "p1:d1", f"endpoint {r.query}")
    expect(r.query.get("lwm2m") == "1.1" and int(r.query["lt"]) > 0, f"query {r.query}")
    for link in ('</>;rt="oma.lwm2m"', "</1/0>", "</3/0>", "</4/0>", "</5/0>"):
        expect(link in r.links, f"{link} is missing in {r.links}")
    print("ok: endpoint, version, lifetime and links")

    answer = await server.request(aiocoap.GET, "3/0", accept=TLV)
    expect(answer.code == aiocoap.CONTENT and answer.opt.content_format == TLV, f"TLV: {answer.code}")
    by_tlv = {ident: value for _, ident, value in tlv(answer.payload)}
    answer = await server.request(aiocoap.GET, "3/0", accept=SENML_CBOR)
    expect(answer.code == aiocoap.CONTENT and answer.opt.content_format == SENML_CBOR, f"SenML: {answer.code}")
    by_senml = senml(answer.payload)
    expect(by_tlv[3].decode() == by_senml["/3/0/3"], f"firmware version differs: {by_tlv} {by_senml}")
    answer = await server.request(aiocoap.GET, "3/0/3", accept=TEXT)
    expect(answer.payload == by_tlv[3], f"text: {answer.payload}")
    print("ok: /3/0 reads the same in TLV, SenML-CBOR and text")

    answer = await server.request(aiocoap.GET, "5/0", accept=LINK)
    expect(answer.code == aiocoap.CONTENT and b"</5/0/3>" in answer.payload, f"discover: {answer.payload}")
    expect((await server.request(aiocoap.GET, "77/0")).code == aiocoap.NOT_FOUND, "unknown object is 4.04")
    expect((await server.request(aiocoap.GET, "5/0/2")).code == aiocoap.METHOD_NOT_ALLOWED, "read of an executable is 4.05")
    expect((await server.request(aiocoap.GET, "3/0", accept=41)).code == aiocoap.NOT_ACCEPTABLE, "XML is 4.06")
    answer = await server.request(aiocoap.PUT, "1/0/1", payload=b"\xff\xff", content_format=TLV)
    expect(answer.code == aiocoap.BAD_REQUEST, f"malformed TLV is 4.00, not {answer.code}")
    print("ok: discover, 4.04, 4.05, 4.06, 4.00")

    pending, first = await server.request(aiocoap.GET, "1/0/1", accept=TEXT, observe=0)
    expect(first.opt.observe is not None, "observe is accepted")
    notices = asyncio.Queue()

    async def listen():
        async for notice in pending.observation:
            notices.put_nowait(notice)

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    updates = server.registration.updates
    answer = await server.request(aiocoap.PUT, "1/0/1", payload=b"600", content_format=TEXT)
    expect(answer.code == aiocoap.CHANGED, f"write of the lifetime: {answer.code}")
    notice = await asyncio.wait_for(notices.get(), 60)
    expect(notice.payload == b"600", f"notification {notice.payload}")
    listener.cancel()
    pending.observation.cancel()
    print("ok: observe, write, notification")
    await server.until("registration update after the new lifetime", lambda: server.registration.updates > updates)
    updates = server.registration.updates
    answer = await server.request(aiocoap.POST, "1/0/8")
    expect(answer.code == aiocoap.CHANGED, f"update trigger: {answer.code}")
    await server.until("registration update on trigger", lambda: server.registration.updates > updates)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    print("ok: aiocoap as LwM2M server")
