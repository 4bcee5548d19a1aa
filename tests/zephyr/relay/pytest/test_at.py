"""AT over the UART: each answer, and that it comes in time."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from at import AtModule  # noqa: E402
from fixtures import program  # noqa: E402, F401


@pytest.fixture
def module(program, tmp_path):
    one = AtModule(program, tmp_path)
    yield one
    one.kill()


@pytest.mark.parametrize("line, answer", [
    ("AT", []),
    ("at+qiotmcuver=?", ["+QIOTMCUVER: <MCU_number>,<MCU_version>"]),
    ("AT+QIOTOTAREQ=?", ["+QIOTOTAREQ: (0,1)"]),
    ("AT+QIOTUPDATE=?", ["+QIOTUPDATE: (0-3)"]),
    ("AT+QIOTOTARD=?", ["+QIOTOTARD: 0,(1-1024)"]),
    ("AT+SOTAERR?", ['+SOTAERR: 0,"None"']),
])
def test_answers(module, line, answer):
    assert module.ok(line) == answer


@pytest.mark.parametrize("line, number", [
    ("AT+NONSENSE", 200),
    ("AT+QIOTUPDATE=9", 201),
    ("AT+QIOTUPDATE=1", 203),
    ("AT+QIOTOTARD=0,1024", 203),
    ('AT+QIOTMCUVER="x:y","1"', 205),
    ("A" * 300, 202),
])
def test_refusals_say_why(module, line, number):
    assert module.error(line) == number


def test_every_answer_within_300_ms(module):
    for number in range(40):
        _, seconds = module.say(f'AT+QIOTMCUVER="STM32","V{number}"')
        assert seconds < 0.3


def test_a_line_in_single_bytes(module):
    import os
    import time
    for byte in b"AT+QIOTMCUVER=?":
        os.write(module.fd, bytes([byte]))
        time.sleep(0.01)
    assert module.ok("")[0].startswith("+QIOTMCUVER:")
