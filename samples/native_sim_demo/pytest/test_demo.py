"""demo.py as a person calls it."""

import pathlib
import re
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
    # The table: seconds, and bytes on each link and way; the package went over two of them.
    assert float(re.search(r"^upgrade +([\d.]+) s$", done.stdout, re.MULTILINE)[1]) > 0
    for link, least in [("Center -> module", 65536), ("module -> Center", 1), ("module -> MCU", 65536), ("MCU -> module", 1)]:
        assert int(re.search(rf"^{link} +(\d+) bytes$", done.stdout, re.MULTILINE)[1]) >= least, link
