"""schemathesis, a tester that no one here wrote, against the REST API of a real Center, with the token of its owner:
requests made from /openapi.json, right ones and wrong ones, until the time is over. Any answer that the description does not
declare, any 5xx, anything accepted that the description forbids is a failure.

usage: openapi_fuzz.py PATH-OF-SOTA [SECONDS] [SEED]
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from center_peer import Center

# All checks but two, and without the stream, which lasts. Where the description cannot say all that is asked of a request, a right one may be refused: names are
# unique, numbers belong to something that is there, a file has a known ending. And any text is a list of device keys, so
# that nothing sent there breaks the description.
CONFIG = """
[checks]
positive_data_acceptance.enabled = false

[[operations]]
include-name = "GET /api/v1/projects/{id}/events"
enabled = false

[[operations]]
include-name = "POST /api/v1/products/{id}/tags"
checks.negative_data_rejection.enabled = false
"""


def furnish(rest):
    """One of everything, so that some requests meet something."""
    project, product, model = rest.furnish("pk")
    model = rest.post("/api/v1/models", {"project": project, "name": "m2", "device_model": "M2", "components": [
        {"identifier": "module", "name": "module", "type": "Firmware"},
        {"identifier": "STM32", "name": "motor", "type": "MCU"}]})["id"]
    package = rest.upload(b"content", project=project, name="p", component_type="MCU", target_version="2")["id"]
    plan = {"project": project, "product": product, "model": model, "components": [{"component": "STM32", "package": package}]}
    rest.post("/api/v1/plans", plan | {"name": "saved"})
    active = rest.post("/api/v1/plans", plan | {"name": "active"})["id"]
    rest.post(f"/api/v1/plans/{active}/activate", {})


def main():
    sota, seconds, seed = sys.argv[1], *(sys.argv[2:] + ["60", "1"][len(sys.argv) - 2:])
    with tempfile.TemporaryDirectory() as data, Center(sota, data) as center:
        furnish(center.rest)
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{center.base}/openapi.json", "--seed", seed,
                   "--max-time", seconds, "--continue-on-failure",
                   "--header", f"Authorization: Bearer {center.token}", "--request-timeout", "20", "--no-color",
                   "--suppress-health-check", "all", "--warnings", "off", "--generation-database", ":memory:"]
        with tempfile.TemporaryDirectory() as here:
            pathlib.Path(here, "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
            done = subprocess.run(command, cwd=here, env=os.environ | {"COLUMNS": "140"}, timeout=int(seconds) * 4 + 120, check=False)
        if done.returncode != 0:
            raise SystemExit(f"FAILED: schemathesis ended with {done.returncode}")
        center.rest.get("/health")
    print(f"ok: schemathesis found nothing in {seconds} s, seed {seed}")


if __name__ == "__main__":
    main()
