"""An aiocoap client that has only /3 and /5 is upgraded by `sota center`, driven by the standard's own sequence.

usage: aiocoap_fw_client.py PATH-OF-SOTA
"""

import asyncio
import hashlib
import sys
import tempfile
import time

import aiocoap
from aiocoap import resource

from center_peer import Center

OLD, NEW = "1_0_0", "2_0_0"
PACKAGE = bytes((i * i * 7 + i // 251) % 256 for i in range(50_001))
IDLE, DOWNLOADING, DOWNLOADED, UPDATING = range(4)


class Value(resource.ObservableResource):
    """A readable resource."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def set(self, value):
        self.value = value
        self.updated_state()

    async def render_get(self, _request):
        return aiocoap.Message(code=aiocoap.CONTENT, payload=str(self.value).encode(), content_format=0)


class PackageUri(resource.Resource):
    def __init__(self, client):
        super().__init__()
        self.client = client

    async def render_put(self, request):
        self.client.uri_written(request.payload.decode())
        return aiocoap.Message(code=aiocoap.CHANGED)


class Update(resource.Resource):
    def __init__(self, client):
        super().__init__()
        self.client = client

    async def render_post(self, _request):
        if self.client.state.value != DOWNLOADED:
            return aiocoap.Message(code=aiocoap.METHOD_NOT_ALLOWED)
        self.client.begin(self.client.install())
        return aiocoap.Message(code=aiocoap.CHANGED)


class Client:
    def __init__(self, center_port):
        self.server = f"coap://127.0.0.1:{center_port}"
        self.version = Value(OLD)
        self.state = Value(IDLE)
        self.result = Value(0)
        self.digest = None
        self.location = None
        self.tasks = set()

    def begin(self, coroutine):
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.ended)

    def ended(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            print("client:", repr(task.exception()), file=sys.stderr)

    async def start(self):
        site = resource.Site()
        site.add_resource(["3", "0", "3"], self.version)
        site.add_resource(["5", "0", "1"], PackageUri(self))
        site.add_resource(["5", "0", "2"], Update(self))
        site.add_resource(["5", "0", "3"], self.state)
        site.add_resource(["5", "0", "5"], self.result)
        self.context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", 0))
        await self.register()

    async def request(self, **fields):
        return await asyncio.wait_for(self.context.request(aiocoap.Message(**fields)).response, 60)

    async def register(self):
        answer = await self.request(
            code=aiocoap.POST, uri=f"{self.server}/rd?ep=aio:fw1&lt=300&lwm2m=1.0&b=U",
            payload=b"</3/0>,</5/0>", content_format=40)
        if answer.code != aiocoap.CREATED or answer.opt.location_path[0] != "rd":
            raise SystemExit(f"FAILED: registration: {answer.code} {answer.opt.location_path}")
        self.location = "/".join(answer.opt.location_path)

    def uri_written(self, uri):
        if not uri:
            self.state.set(IDLE)
            self.result.set(0)
            return
        self.state.set(DOWNLOADING)
        self.begin(self.download(uri))

    async def download(self, uri):
        answer = await self.request(code=aiocoap.GET, uri=uri)
        self.digest = hashlib.sha256(answer.payload).hexdigest()
        if answer.code != aiocoap.CONTENT or not uri.endswith(self.digest):
            self.result.set(5)
            self.state.set(IDLE)
            return
        self.state.set(DOWNLOADED)

    async def install(self):
        self.state.set(UPDATING)
        await asyncio.sleep(0.5)  # the restart
        self.version.set(NEW)
        self.result.set(1)
        self.state.set(IDLE)
        await self.register()


async def main(sota):
    with tempfile.TemporaryDirectory() as data, Center(sota, data) as center:
        rest = center.rest
        project, product, model = rest.furnish("aio")
        package = rest.upload(PACKAGE, project=project, name="to 2", component_type="Firmware", target_version=NEW)
        plan = rest.post("/api/v1/plans", {
            "project": project, "name": "fota", "product": product, "model": model,
            "components": [{"component": "firmware", "package": package["id"]}]})["id"]
        rest.post(f"/api/v1/plans/{plan}/activate", {})

        client = Client(center.coap_port)
        await client.start()
        deadline = time.monotonic() + 120
        devices = []
        while time.monotonic() < deadline:
            devices = await asyncio.to_thread(rest.get, f"/api/v1/plans/{plan}/devices")
            if [d["state"] for d in devices] == ["Upgraded"]:
                break
            await asyncio.sleep(0.2)
        else:
            log = rest.get("/api/v1/devices/aio/fw1/log")
            raise SystemExit(f"FAILED: {devices}\n" + "\n".join(str(line) for line in log))
        if client.digest != hashlib.sha256(PACKAGE).hexdigest():
            raise SystemExit(f"FAILED: the client has {client.digest}")
        print("ok: a client with only /5 downloaded, installed and runs", client.version.value)

        answer = await client.request(code=aiocoap.DELETE, uri=f"{client.server}/{client.location}")
        if answer.code != aiocoap.DELETED:
            raise SystemExit(f"FAILED: de-registration: {answer.code}")
        await client.context.shutdown()
    print("ok: de-registered")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
