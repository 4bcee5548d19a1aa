"""The module's own firmware under the real MCUboot: test, swap, confirm and revert are its own doing."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from fixtures import sota  # noqa: E402, F401
from qemu import PSRAM, BoardRelay  # noqa: E402

# boards/mps2_an385.overlay
SLOT0, SLOT_SIZE = 0x80000, 0x80000
OLD, NEW = "1.0.0-arm", "2.0.0-arm"


@pytest.fixture(scope="session")
def build(request):
    return pathlib.Path(request.config.getoption("--build-dir"))


@pytest.fixture(scope="session")
def module(build):
    """MCUboot's folder in the workspace, as the application's build found it."""
    found = re.search(r'"mcuboot":"([^"]+)"', (build / "zephyr_modules.txt").read_text())
    return pathlib.Path(found[1])


@pytest.fixture(scope="session")
def bootloader(build, module):
    """MCUboot for the board, built once beside the application."""
    folder, settings = build / "mcuboot", HERE.parent / "bootloader"
    subprocess.run(
        ["west", "build", "-b", "mps2/an385", "-d", str(folder), str(module / "boot/zephyr"), "--",
         f"-DEXTRA_CONF_FILE={settings}/mps2_an385.conf", f"-DEXTRA_DTC_OVERLAY_FILE={settings}/mps2_an385.overlay"],
        check=True)
    return (folder / "zephyr/zephyr.bin").read_bytes()


@pytest.fixture(scope="session")
def images(build, module, tmp_path_factory):
    """The application signed as it is, and as a successor: the same code with another version inside."""
    folder = tmp_path_factory.mktemp("images")
    code = (build / "zephyr/zephyr.bin").read_bytes()
    assert code.count(OLD.encode()) == 1
    made = []
    for version in OLD, NEW:
        plain, signed = folder / f"{version}.bin", folder / f"{version}.signed.bin"
        plain.write_bytes(code.replace(OLD.encode(), version.encode()))
        subprocess.run(
            [sys.executable, str(module / "scripts/imgtool.py"), "sign", "--key", str(module / "root-rsa-2048.pem"),
             "--header-size", "0x200", "--align", "4", "--slot-size", hex(SLOT_SIZE),
             "--version", version.partition("-")[0], str(plain), str(signed)], check=True)
        made.append(signed.read_bytes())
    return made


@pytest.fixture
def make(sota, bootloader, images, tmp_path):  # noqa: F811
    """A board whose flash holds MCUboot and the old image."""
    flash = bytearray(b"\xff" * PSRAM)
    flash[:len(bootloader)] = bootloader
    flash[SLOT0:SLOT0 + len(images[0])] = images[0]
    (tmp_path / "flash.bin").write_bytes(flash)
    # The processor takes its first stack and instruction from address 0: MCUboot's.
    (tmp_path / "vectors.bin").write_bytes(bootloader[:8])
    image = ["-device", f"loader,file={tmp_path}/vectors.bin,addr=0,force-raw=on"]
    made = []

    def relay(**fields):
        made.append(BoardRelay(sota, image, str(tmp_path), **fields))
        return made[-1].__enter__()

    yield relay
    for one in made:
        one.__exit__()
        assert "FATAL" not in one.module.text()


def slot0(world, length):
    return world.module.flash.read_bytes()[SLOT0:SLOT0 + length]


def trial(make, images):
    """Until the new image is marked and the board restarts."""
    world = make(size=1, mcu=False)
    world.package = images[1]
    world.furnish(kind="Firmware", component="MODULE", target=NEW)
    world.module.start()
    world.wait("registration", lambda: world.version("MODULE") == OLD)
    assert slot0(world, len(images[0])) == images[0]
    world.activate()
    world.wait("the plan", lambda: "event 7,10700" in world.module.text())
    world.module.say("AT+QIOTUPDATE=1")
    world.wait("MCUboot and the mark", lambda: "Swap type: test" in world.module.text())
    return world


def starts(world):
    return world.module.text().count("sota,journal:")


def test_trial_registration_confirmation(make, images):
    world = trial(make, images)
    assert world.wait("end of the plan", world.ended) == "upgraded", world.log()
    assert world.version("MODULE") == NEW
    assert "the new image has registered: confirmed" in world.module.text()
    world.module.kill()
    assert slot0(world, len(images[1])) == images[1]
    world.module.start()
    world.wait("the version after one more start", lambda: world.version("MODULE") == NEW)
    world.module.kill()
    assert slot0(world, len(images[1])) == images[1]


def test_power_goes_on_trial(make, images):
    world = trial(make, images)
    world.proxy.lose = lambda number: True
    world.wait("start of the new image", lambda: starts(world) == 2)
    assert slot0(world, len(images[1])) == images[1]
    world.module.kill()
    world.module.start()
    assert slot0(world, len(images[0])) == images[0]
    world.proxy.lose = lambda number: False
    failed(world)


def test_an_image_that_does_not_register_is_given_up(make, images):
    world = trial(make, images)
    world.proxy.lose = lambda number: True
    world.wait("start of the new image", lambda: starts(world) == 2)
    world.wait("start of the old image", lambda: starts(world) == 3)
    assert slot0(world, len(images[0])) == images[0]
    world.proxy.lose = lambda number: False
    failed(world)


def test_an_image_with_a_wrong_signature_is_not_booted(make, images):
    broken = bytearray(images[1])
    broken[len(broken) // 2] ^= 1
    world = trial(make, [images[0], bytes(broken)])
    world.wait("start after the mark", lambda: starts(world) == 2)
    assert slot0(world, len(images[0])) == images[0]
    failed(world)


def failed(world):
    world.wait("the failure at the Center", lambda: any("could not be installed" in line for line in world.log()), 60)
    assert world.version("MODULE") == OLD
