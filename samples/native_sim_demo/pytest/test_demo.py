"""demo.py as a person calls it."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests/zephyr"))
from fixtures import program, sota  # noqa: E402, F401


def test_demo(program, sota):
    demo = pathlib.Path(__file__).resolve().parents[1] / "demo.py"
    done = subprocess.run([sys.executable, demo, program, "--sota", sota, "--size", "65536", "--kill", "2"],
                          capture_output=True, text=True, timeout=250)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "MCU booted the package   yes" in done.stdout
