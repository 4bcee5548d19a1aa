"""What survives kill -9: settings by AT commands, and the MCU's versions in the journal."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from at import AtModule  # noqa: E402
from fixtures import program  # noqa: E402, F401


def test_settings_and_versions_are_kept(program, tmp_path):
    first = AtModule(program, tmp_path)
    first.ok('AT+QIOTCFG="lifetime",300')
    first.ok('AT+QIOTCFG="productinfo","pk-2","ps-2"')
    first.ok('AT+QIOTMCUVER="STM32","V7"')
    first.kill()
    second = AtModule(program, tmp_path)
    assert second.ok('AT+QIOTCFG="lifetime"') == ['+QIOTCFG: "lifetime",300']
    assert second.ok('AT+QIOTCFG="productinfo"')[0].startswith('+QIOTCFG: "productinfo","pk-2","ps-2"')
    assert second.ok("AT+QIOTMCUVER?") == ['+QIOTMCUVER: "STM32","V7"']
    second.ok('AT+QIOTMCUVER="STM32",""')
    second.kill()
    third = AtModule(program, tmp_path)
    assert third.ok("AT+QIOTMCUVER?") == []
    third.kill()


def test_another_flash_file_knows_nothing(program, tmp_path):
    first = AtModule(program, tmp_path)
    first.ok('AT+QIOTMCUVER="STM32","V7"')
    first.kill()
    (tmp_path / "flash.bin").unlink()
    second = AtModule(program, tmp_path)
    assert second.ok("AT+QIOTMCUVER?") == []
    second.kill()
