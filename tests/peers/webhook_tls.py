"""A receiver of webhooks behind TLS, made of Python's standard library and the program openssl: the Center calls it when it
trusts who signed its certificate, and tells it nothing when it does not.

usage: webhook_tls.py PATH-OF-SOTA
"""

import hashlib
import hmac
import http.server
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from center_peer import Center


def authority(folder):
    """A CA, and a certificate for localhost that it signed."""
    path = lambda name: os.path.join(folder, name)  # noqa: E731
    run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True)  # noqa: E731
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test CA",
        "-keyout", path("ca.key"), "-out", path("ca.pem"))
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
        "-keyout", path("own.key"), "-out", path("own.csr"))
    with open(path("own.ext"), "w", encoding="ascii") as file:
        file.write("subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:false\n")
    run("x509", "-req", "-in", path("own.csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial", "-days", "2",
        "-extfile", path("own.ext"), "-out", path("own.pem"))
    return path("ca.pem"), path("own.pem"), path("own.key")


class Receiver(http.server.BaseHTTPRequestHandler):
    came = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Receiver.came.append((self.headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def wait(what, until):
    deadline = time.monotonic() + 30
    while not until():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: {what}")
        time.sleep(0.1)


def told(sota, url, trusted):
    """Makes a webhook, asks for a test, and gives its secret and the last delivery."""
    os.environ.pop("SSL_CERT_FILE", None)
    if trusted:
        os.environ["SSL_CERT_FILE"] = trusted
    with tempfile.TemporaryDirectory() as data, Center(sota, data) as center:
        rest = center.rest
        project = rest.post("/api/v1/projects", {"name": "p"})["id"]
        made = rest.post(f"/api/v1/projects/{project}/webhooks", {"name": "w", "url": url, "events": ["PlanState"]})
        hook = made["id"]
        rest.post(f"/api/v1/webhooks/{hook}/test", {})
        deliveries = lambda: rest.get(f"/api/v1/webhooks/{hook}/deliveries")  # noqa: E731
        wait("the delivery was not tried", lambda: deliveries() and deliveries()[0]["attempts"] > 0)
        return made["secret"], deliveries()[0]


def main():
    sota = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        ca, certificate, key = authority(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://localhost:{server.server_port}/hook"
        secret, delivery = told(sota, url, ca)
        if len(Receiver.came) != 1:
            raise SystemExit(f"FAILED: came {len(Receiver.came)} times: {delivery}")
        headers, body = Receiver.came.pop()
        signed = dict(part.split("=", 1) for part in headers["Sota-Signature"].split(","))
        digest = hmac.new(secret.encode(), f"{signed['t']}.".encode() + body, hashlib.sha256).hexdigest()
        if digest != signed["v1"]:
            raise SystemExit("FAILED: the signature is not of this body")
        print(f"ok: a webhook by https, signed: {headers['Sota-Event']}, {delivery}")
        _, delivery = told(sota, url, None)
        if Receiver.came:
            raise SystemExit("FAILED: told to a receiver whose certificate nobody vouches for")
        print(f"ok: a receiver whose certificate nobody vouches for is told nothing: {delivery}")
        server.shutdown()


if __name__ == "__main__":
    main()
