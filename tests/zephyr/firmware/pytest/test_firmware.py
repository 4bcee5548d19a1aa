"""The module's own firmware: on trial until it has registered, reverted otherwise; and an MCU's package that looks like an image
of the module changes nothing."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from fixtures import program, relay, sota  # noqa: E402, F401
from mcuboot import IMAGE_MAGIC, MAGIC, SIZE, SLOT0, SLOT1, Flash  # noqa: E402


def own(relay, package):
    """A plan for the module itself, active; the module runs 1.0.0."""
    world = relay(size=1, arguments=["--sota-end-on-restart"], mcu=False)
    world.package = package
    world.furnish(kind="Firmware", component="MODULE", target="2.0.0")
    world.module.start()
    world.wait("registration", lambda: world.version("MODULE") == "1.0.0")
    world.activate()
    world.wait("the plan", lambda: "event 7,10700" in world.module.text())
    return world, Flash(pathlib.Path(world.folder, "flash.bin"))


def confirm(relay, package):
    """As the host confirms: the MCU's AT command."""
    import tty
    import re
    world, flash = own(relay, package)
    name = re.search(r"uart_1 connected to pseudotty: (\S+)", world.module.text())[1]
    fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd)
    os.write(fd, b"AT+QIOTUPDATE=1\r")
    return world, flash


def failed(world):
    """The Center has heard the failure with its reason (and offers again later: that is the plan's retry)."""
    world.wait("the failure at the Center", lambda: any("could not be installed" in line for line in world.log()), 20)


def ends(world):
    world.module.process.wait(60)


def again(world, *arguments):
    world.module.command = world.module.command[:4] + ["--sota-end-on-restart", *arguments]
    world.module.start()


def image(length):
    return IMAGE_MAGIC + os.urandom(length - 4)


def test_trial_registration_confirmation(relay):
    package = image(150_001)
    world, flash = confirm(relay, package)
    ends(world)
    assert flash.boot() == "test"
    assert flash.read(SLOT0, len(package)) == package
    assert flash.trailer(SLOT0)["image_ok"] != 1
    again(world, "--sota-version=2.0.0")
    assert world.wait("end of the plan", world.ended) == "upgraded", world.log()
    assert world.version("MODULE") == "2.0.0"
    assert "the new image has registered: confirmed" in world.module.text()
    assert flash.trailer(SLOT0)["image_ok"] == 1
    world.module.kill()
    assert flash.boot() == "none"


def test_power_goes_on_trial(relay):
    world, flash = confirm(relay, image(40_000))
    ends(world)
    old = flash.read(SLOT0, 1000)
    assert flash.boot() == "test"
    again(world, "--sota-version=2.0.0", "--sota-server=coap://127.0.0.1:1")
    world.wait("start", lambda: world.module.text().count("sota,journal") == 2)
    world.module.kill()
    assert flash.boot() == "revert"
    assert flash.read(SLOT0, 1000) == old
    again(world)
    failed(world)


def test_an_image_that_does_not_register_is_given_up(relay):
    world, flash = confirm(relay, image(40_000))
    ends(world)
    assert flash.boot() == "test"
    again(world, "--sota-version=2.0.0", "--sota-server=coap://127.0.0.1:1")
    ends(world)
    assert "back to the old one" in world.module.text()
    assert flash.boot() == "revert"
    again(world)
    failed(world)


def test_what_is_no_image_is_not_marked(relay):
    world, flash = confirm(relay, os.urandom(20_000))
    failed(world)
    world.module.kill()
    assert flash.boot() == "none"


def test_an_mcu_package_that_is_an_image_with_a_trailer(relay):
    """As large as the slot, header first and trailer last, in one piece and in two: MCUboot finds nothing."""
    world = relay(size=1)
    world.package = bytearray(image(SIZE))
    end = len(world.package)
    world.package[end - 16:] = MAGIC
    world.package[end - 24] = 1
    world.package = bytes(world.package)
    world.furnish()
    world.module.start()
    # The flash file is there when the partitions are open.
    world.wait("start", lambda: "sota,journal" in world.module.text())
    flash = Flash(pathlib.Path(world.folder, "flash.bin"))
    before = flash.read(SLOT0, SIZE)
    world.start_mcu()
    world.wait("registration with the MCU's version", lambda: world.version() == "V1_0")
    world.activate()
    while world.ended() is None:
        assert not flash.has_image(SLOT1) and not flash.trailer(SLOT1)["magic"]
    assert world.ended() == "upgraded", world.log()
    world.module.kill()
    assert flash.read(SLOT0, SIZE) == before
    assert flash.boot() == "none"
