"""A `sota center` to test against, and its REST API. Standard library only.

As a program, for shell scripts:  center_peer.py upload BASE-URL FILE  prints the package's SHA-256;
the file that the environment's SOTA_TOKEN_FILE names holds the token.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Center:
    """A Center on free ports; `with` stops it."""

    def __init__(self, sota, data, *arguments):
        self.coap_port = free_port(socket.SOCK_DGRAM)
        http_port = free_port(socket.SOCK_STREAM)
        self.base = f"http://127.0.0.1:{http_port}"
        token_file = os.path.join(data, "token")
        self.process = subprocess.Popen(
            [sota, "center", "--data", data, "--listen-http", f"127.0.0.1:{http_port}",
             "--listen-coap", f"127.0.0.1:{self.coap_port}", "--token-file", token_file, *arguments],
            stdout=subprocess.DEVNULL,
        )
        self.rest = Rest(self.base, self.process)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.rest.get("/health")
                self.rest.token = self.token = read(token_file)
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    raise SystemExit("FAILED: the Center does not answer")
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit("FAILED: the Center does not stop")


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


class Rest:
    """REST of a Center; with its process an answer that never comes says whether the Center lives."""

    def __init__(self, base, process=None, token=""):
        self.base, self.process, self.token = base, process, token

    def call(self, method, path, body=None, content_type="application/json"):
        request = urllib.request.Request(self.base + path, data=body, method=method)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.add_header("Content-Type", content_type)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise SystemExit(f"FAILED: {method} {path}: {error.code} {error.read().decode()}") from None
        except ConnectionError as error:
            # Its end may be a moment behind the connection's.
            time.sleep(1)
            status = self.process and self.process.poll()
            lives = "lives" if status is None else f"has ended with {status}"
            raise ConnectionError(f"{method} {path}: {error!r}; the Center {lives}") from None

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, value):
        return self.call("POST", path, json.dumps(value).encode())

    def upload(self, content, **fields):
        boundary = uuid.uuid4().hex
        body = b""
        for name, value in fields.items():
            body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="p.bin"\r\n\r\n'.encode()
        body += content + f"\r\n--{boundary}--\r\n".encode()
        return self.call("POST", "/api/v1/packages", body, f"multipart/form-data; boundary={boundary}")

    def furnish(self, product_key):
        """A project, a product and a model with one Firmware component; their ids."""
        project = self.post("/api/v1/projects", {"name": "peers"})["id"]
        product = self.post("/api/v1/products", {
            "project": project, "name": "peer", "product_key": product_key, "product_secret": "secret"})["id"]
        model = self.post("/api/v1/models", {"project": project, "name": "m", "device_model": "M1", "components": [
            {"identifier": "firmware", "name": "firmware", "type": "Firmware"}]})["id"]
        return project, product, model


def main():
    command, base, path = sys.argv[1:]
    if command != "upload":
        raise SystemExit(__doc__)
    rest = Rest(base, token=read(os.environ["SOTA_TOKEN_FILE"]))
    project = rest.post("/api/v1/projects", {"name": os.path.basename(path)})["id"]
    with open(path, "rb") as file:
        package = rest.upload(file.read(), project=project, name="download", component_type="MCU", target_version="2")
    print(package["files"][0]["sha256"])


if __name__ == "__main__":
    main()
