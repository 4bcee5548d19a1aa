"""A small LwM2M server on aiocoap, for the peer tests: registration, Send, requests to the client, a package.

It knows only what the OMA documents say; nothing of it is shared with the code under test.
"""

import asyncio
import hashlib
import json
import sys

import aiocoap
import aiocoap.resource as resource
import cbor2

LINK, OPAQUE, TEXT, CBOR, SENML_CBOR, TLV = 40, 42, 0, 60, 112, 11542


def tlv(data):
    """Decodes OMA TLV into [(kind, id, value)], kind one of instance, value, multiple, resource."""
    out, at = [], 0
    kinds = {0: "instance", 1: "value", 2: "multiple", 3: "resource"}
    while at < len(data):
        head = data[at]
        at += 1
        id_len = 2 if head & 0x20 else 1
        ident = int.from_bytes(data[at : at + id_len], "big")
        at += id_len
        len_len = (head >> 3) & 3
        length = head & 7 if len_len == 0 else int.from_bytes(data[at : at + len_len], "big")
        at += len_len
        value = data[at : at + length]
        assert len(value) == length, "TLV value is cut"
        at += length
        kind = kinds[head >> 6]
        out.append((kind, ident, tlv(value) if kind in ("instance", "multiple") else value))
    return out


def senml(data):
    """Decodes SenML-CBOR into {path: value}."""
    base, out = "", {}
    for record in cbor2.loads(data):
        base = record.get(-2, base)
        for label in (2, 3, 4, 8):
            if label in record:
                out[base + record.get(0, "")] = record[label]
    return out


class Registration:
    def __init__(self, remote, query, links):
        self.remote, self.query, self.links = remote, query, links
        self.updates = 0


class Register(resource.Resource):
    """POST /rd"""

    def __init__(self, server):
        super().__init__()
        self.server = server

    async def render_post(self, request):
        query = dict(q.split("=", 1) if "=" in q else (q, "") for q in request.opt.uri_query)
        self.server.registration = Registration(request.remote, query, request.payload.decode())
        self.server.registrations += 1
        self.server.changed.set()
        answer = aiocoap.Message(code=aiocoap.CREATED)
        answer.opt.location_path = ("rd", "1")
        return answer


class Registered(resource.Resource):
    """POST /rd/1, DELETE /rd/1: there is one client."""

    def __init__(self, server):
        super().__init__()
        self.server = server

    async def render_post(self, request):
        if self.server.registration is None:
            return aiocoap.Message(code=aiocoap.NOT_FOUND)
        self.server.registration.updates += 1
        self.server.registration.remote = request.remote
        if request.payload:
            self.server.registration.links = request.payload.decode()
        self.server.changed.set()
        return aiocoap.Message(code=aiocoap.CHANGED)

    async def render_delete(self, request):
        self.server.registration = None
        self.server.deregistrations += 1
        self.server.changed.set()
        return aiocoap.Message(code=aiocoap.DELETED)


class Dp(resource.Resource):
    def __init__(self, server):
        super().__init__()
        self.server = server

    async def render_post(self, request):
        self.server.sends.append(senml(request.payload))
        self.server.changed.set()
        return aiocoap.Message(code=aiocoap.CHANGED)


class Package(resource.Resource):
    def __init__(self, data):
        super().__init__()
        self.data, self.requests = data, 0

    async def render_get(self, request):
        self.requests += 1
        answer = aiocoap.Message(payload=self.data, content_format=OPAQUE)
        answer.opt.etag = hashlib.sha256(self.data).digest()[:8]
        return answer


class Server:
    """One client, one package."""

    def __init__(self, package=b""):
        self.registration, self.registrations, self.deregistrations = None, 0, 0
        self.sends, self.changed = [], asyncio.Event()
        self.package = Package(package)

    async def start(self, port):
        site = resource.Site()
        site.add_resource(["rd"], Register(self))
        site.add_resource(["rd", "1"], Registered(self))
        site.add_resource(["dp"], Dp(self))
        site.add_resource(["package"], self.package)
        self.context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port))
        self.port = port

    async def until(self, what, condition, seconds=60):
        async def wait():
            while not condition():
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.2)
                except asyncio.TimeoutError:
                    pass

        try:
            await asyncio.wait_for(wait(), seconds)
        except asyncio.TimeoutError:
            raise SystemExit(f"FAILED: {what} did not happen in {seconds} s")
        print(f"ok: {what}", flush=True)

    async def request(self, code, path, payload=b"", content_format=None, accept=None, observe=None):
        message = aiocoap.Message(code=code, payload=payload)
        message.remote = self.registration.remote
        message.opt.uri_path = tuple(p for p in path.split("/") if p)
        if content_format is not None:
            message.opt.content_format = content_format
        if accept is not None:
            message.opt.accept = accept
        if observe is not None:
            message.opt.observe = observe
        pending = self.context.request(message)
        answer = await asyncio.wait_for(pending.response, 60)
        if observe is not None:
            return pending, answer
        return answer

    async def read_int(self, path):
        answer = await self.request(aiocoap.GET, path, accept=TEXT)
        expect(answer.code == aiocoap.CONTENT, f"read {path}: {answer.code}")
        return int(answer.payload)


def expect(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


async def start(*command):
    """A program that prints JSON lines; returns it and a queue of its lines."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    lines = asyncio.Queue()

    async def pump():
        async for line in process.stdout:
            try:
                lines.put_nowait(json.loads(line))
            except ValueError:
                print("?", line, file=sys.stderr)

    asyncio.get_running_loop().create_task(pump())
    return process, lines


async def line_with(lines, key, seconds=60):
    """The first line that has this key."""

    async def wait():
        while True:
            line = await lines.get()
            if key in line:
                return line

    try:
        return await asyncio.wait_for(wait(), seconds)
    except asyncio.TimeoutError:
        raise SystemExit(f"FAILED: no line with {key!r} in {seconds} s")


async def stop(*processes):
    for process in processes:
        if process.returncode is None:
            process.terminate()
            await process.wait()
