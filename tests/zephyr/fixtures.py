"""What the pytest suites of twister share: the image that twister built, and the host's program."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from relay import ROOT, Relay  # noqa: E402


@pytest.fixture
def program(request):
    """zephyr.exe of this suite's build."""
    return os.path.join(request.config.getoption("--build-dir"), "zephyr/zephyr.exe")


@pytest.fixture(scope="session")
def sota():
    """The host's program; .ci/run says which by SOTA."""
    path = os.environ.get("SOTA", str(ROOT / "target/release/sota"))
    assert os.access(path, os.X_OK), f"{path}: cargo build --release first, or set SOTA"
    return path


@pytest.fixture
def relay(sota, program, tmp_path):
    """Makes the host's side; everything ends with the test."""
    made = []

    def make(*args, **fields):
        made.append(Relay(sota, program, str(tmp_path), *args, **fields))
        return made[-1].__enter__()

    yield make
    for one in made:
        one.__exit__()
