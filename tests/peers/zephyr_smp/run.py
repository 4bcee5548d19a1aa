#!/usr/bin/env python3
"""Zephyr's own MCUmgr and the real MCUboot, on an Arm board in QEMU, upgraded by `sota module --protocol smp`: an upgrade, one with the
module killed in the middle of the upload, an image with a wrong signature, and one that hangs and is taken back by a power cut.

    run.py PATH-OF-SOTA FOLDER      FOLDER is for the builds

Needs a Zephyr workspace (ZEPHYR_BASE) with its module zcbor, which .ci/run's has not: ZCBOR names a folder with it. And qemu-system-arm,
west, imgtool on PATH. Not a part of .ci/run.
"""

import os
import pathlib
import re
import struct
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/zephyr"))
from relay import COMPONENT, DEVICE, PRODUCT, Relay  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SOTA, WORK = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
BASE = pathlib.Path(os.environ["ZEPHYR_BASE"])
MCUBOOT = BASE.parent / "bootloader/mcuboot"
# boards/mps2_an385.overlay
PSRAM, PSRAM_BASE, SLOT0, SLOT_SIZE, HEADER = 16 << 20, 0x21000000, 0x80000, 0x80000, 0x200


def build(name, source, *settings):
    folder = WORK / name
    subprocess.run(["west", "build", "-b", "mps2/an385", "-d", folder, source, "--", *settings],
                   check=True, cwd=BASE, stdout=subprocess.DEVNULL)
    return (folder / "zephyr/zephyr.bin").read_bytes()


def sign(code, version, key=MCUBOOT / "root-rsa-2048.pem"):
    plain, signed = WORK / "plain.bin", WORK / "signed.bin"
    plain.write_bytes(code)
    subprocess.run(["imgtool", "sign", "--key", key, "--header-size", hex(HEADER), "--align", "4",
                    "--slot-size", hex(SLOT_SIZE), "--version", version, plain, signed],
                   check=True, stdout=subprocess.DEVNULL)
    return signed.read_bytes()


class Board:
    """QEMU; its flash is a file."""

    def __init__(self, bootloader, image):
        flash = bytearray(b"\xff" * PSRAM)
        flash[:len(bootloader)] = bootloader
        flash[SLOT0:SLOT0 + len(image)] = image
        (WORK / "flash.bin").write_bytes(flash)
        (WORK / "vectors.bin").write_bytes(bootloader[:8])
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["qemu-system-arm", "-cpu", "cortex-m3", "-display", "none", "-monitor", "none", "-nic", "none",
             "-machine", "mps2-an385,memory-backend=psram",
             "-object", f"memory-backend-file,id=psram,size={PSRAM},mem-path={WORK}/flash.bin,share=on",
             "-serial", f"file:{WORK}/console", "-serial", "pty",
             "-device", f"loader,file={WORK}/vectors.bin,addr=0,force-raw=on"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            found = re.search(r"redirected to (\S+) \(label serial1\)", line)
            if found:
                self.uart = found[1]
                return
        sys.exit("FAILED: QEMU did not start")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def runs(self):
        """The version that MCUboot started last."""
        text = (WORK / "console").read_text(errors="replace")
        return re.findall(r"Image version: v(\S+)", text)[-1]


class Module:
    """`sota module`, with what Relay asks of one."""

    def __init__(self, folder, server, uart):
        self.lines = []
        self.command = [SOTA, "module", "--protocol", "smp", "--uart", uart, "--server", server, "--product-key", PRODUCT,
                        "--device-key", DEVICE, "--state", f"{folder}/module", "--component", "MODULE",
                        "--mcu-component", COMPONENT, "--give-up", "40"]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=lambda out: self.lines.extend(out), args=[self.process.stdout], daemon=True).start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def text(self):
        return "".join(self.lines)


def upgrade(board, name, package, source, target, kill=False, fails=None):
    """To the plan's end, or until the module says that it fails for this; the Center would offer it again."""
    folder = WORK / name
    subprocess.run(["rm", "-rf", folder], check=True)
    folder.mkdir()
    relay = Relay(SOTA, SOTA, str(folder), size=1, mcu=False)
    relay.module = Module(folder, f"coap://127.0.0.1:{relay.proxy.port}", board.uart)
    with relay:
        relay.package = package
        relay.furnish(target=target)
        relay.module.start()
        relay.wait("the version that the SMP server tells", lambda: relay.version() == source)
        relay.activate()
        if kill:
            relay.wait("the piece", lambda: "event 7,10703" in relay.module.text())
            time.sleep(2)
            relay.module.kill()
            assert "event 7,10704" not in relay.module.text(), "it was killed too late"
            relay.module.start()
        if fails:
            relay.wait(fails, lambda: fails in relay.module.text(), 300)
        else:
            assert relay.wait("end of the plan", relay.ended, 300) == "upgraded", relay.module.text()
            relay.wait("the version", lambda: relay.version() == target)


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    board = f"{ROOT}/boards/mps2_an385.overlay"
    zcbor = os.environ.get("ZCBOR")
    modules = [f"-DEXTRA_ZEPHYR_MODULES={zcbor}"] if zcbor else []
    code = build("app", HERE, f"-DEXTRA_DTC_OVERLAY_FILE={board};{HERE}/app.overlay", *modules)
    settings = ROOT / "tests/zephyr/mcuboot/bootloader/mps2_an385"
    bootloader = build("mcuboot", MCUBOOT / "boot/zephyr", f"-DEXTRA_CONF_FILE={settings}.conf",
                       f"-DEXTRA_DTC_OVERLAY_FILE={settings}.overlay")
    other = WORK / "other.pem"
    if not other.exists():
        subprocess.run(["imgtool", "keygen", "-k", other, "-t", "rsa-2048"], check=True)
    hangs = bytearray(code)
    reset = struct.unpack_from("<I", code, HEADER + 4)[0] & ~1
    struct.pack_into("<H", hangs, reset - PSRAM_BASE - SLOT0, 0xE7FE)  # an endless loop

    board = Board(bootloader, sign(code, "1.0.0"))
    try:
        larger = code + b"successor" * 1000
        upgrade(board, "good", sign(larger, "2.0.0"), "1.0.0", "2.0.0")
        assert board.runs() == "2.0.0"
        print("ok: an upgrade of Zephyr's MCUmgr under MCUboot", flush=True)
        upgrade(board, "killed", sign(code, "3.0.0+7"), "2.0.0", "3.0.0.7", kill=True)
        assert board.runs() == "3.0.0"
        print("ok: the same, with the module killed in the middle of the upload", flush=True)
        upgrade(board, "signature", sign(code, "4.0.0", other), "3.0.0.7", "4.0.0", fails="658 SmpRejected")
        assert board.runs() == "3.0.0"
        print("ok: an image with a wrong signature is not taken: 658 SmpRejected", flush=True)
        upgrade(board, "hangs", sign(bytes(hangs), "5.0.0"), "3.0.0.7", "5.0.0", fails="663 SmpGaveUp")
        assert board.runs() == "5.0.0"
        board.stop()
        board.start()
        upgrade(board, "after", sign(larger, "6.0.0"), "3.0.0.7", "6.0.0")
        assert board.runs() == "6.0.0"
        print("ok: an image that hangs: 663 SmpGaveUp; a power cut brings the old one back, and the next upgrade succeeds")
    finally:
        board.stop()


main()
