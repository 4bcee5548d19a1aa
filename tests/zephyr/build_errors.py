#!/usr/bin/env python3
"""Configurations that must not build, and the sentence that says why; only CMake runs.

    tests/zephyr/build_errors.py FOLDER [WORD]    for the builds, made anew; only the cases with this word

Exit status 0 only if each is refused with its sentence, and the same application without the mistake is not refused.
"""

import pathlib
import shutil
import subprocess
import sys

APPLICATION = pathlib.Path(__file__).resolve().parent / "corners"
BOARD = "native_sim/native/64"


def without(chosen):
    return f"/ {{ chosen {{ /delete-property/ {chosen}; }}; }};\n"


def stm32(without="", name="mcu", **other):
    """A node sota,stm32 with all that it must have but one; `other`: properties with another value."""
    values = {"component": '"A"', "version": '"1"', "chip": '"f103"', "uart": "<&uart0>",
              "reset-gpios": "<&gpio0 1 GPIO_ACTIVE_LOW>", "boot-gpios": "<&gpio0 2 GPIO_ACTIVE_HIGH>", **other}
    lines = "".join(f"{key} = {value}; " for key, value in values.items() if key != without)
    return f'/ {{ {name} {{ compatible = "sota,stm32"; {lines}}}; }};\n'


def required(name):
    """What Zephyr's devicetree says."""
    return f"'{name}' is marked as required in 'properties:'"


# What, lines of an overlay, lines of a configuration, the sentence; None: it must be accepted.
CASES = [
    ("nothing wrong, no UART and no AT server", without("sota,mcu-uart"), "CONFIG_SOTA_AT=n\n", None),
    ("no UART", without("sota,mcu-uart"), "", "SOTA: the devicetree has no chosen node sota,mcu-uart."),
    ("no staging", without("sota,staging"), "", "SOTA: the devicetree has no chosen node sota,staging."),
    ("no journal", without("sota,journal"), "", "SOTA: the devicetree has no chosen node sota,journal."),
    ("readings of nothing", "", "CONFIG_SOTA_READINGS=y\n", "SOTA: the devicetree has no chosen node sota,modem."),
    ("an STM32", stm32(), "CONFIG_GPIO=y\n", None),
    ("an STM32 without GPIOs", stm32(), "",
     "SOTA: the devicetree has a node sota,stm32, which needs CONFIG_SERIAL=y and CONFIG_GPIO=y."),
    ("an STM32 without a UART", stm32("uart"), "CONFIG_GPIO=y\n", required("uart")),
    ("an STM32 without a reset line", stm32("reset-gpios"), "CONFIG_GPIO=y\n", required("reset-gpios")),
    ("an STM32 without a name", stm32("component"), "CONFIG_GPIO=y\n", required("component")),
    ("a chip that is not known", stm32(chip='"z80"'), "CONFIG_GPIO=y\n", "value of property 'chip' on /mcu"),
    ("five STM32s", "".join(stm32(name=f"mcu{n}") for n in range(5)), "CONFIG_GPIO=y\n",
     "SOTA: the devicetree has 5 nodes sota,stm32 and sota,smp; there can be four."),
    ("a value above its range", "", "CONFIG_SOTA_MIN_BATTERY_PERCENT=101\n",
     "user value 101 on the int symbol SOTA_MIN_BATTERY_PERCENT"),
    ("a value below its range", "", "CONFIG_SOTA_UPDATE_TIMEOUT_S=0\n",
     "user value 0 on the int symbol SOTA_UPDATE_TIMEOUT_S"),
]


def configure(folder, overlay, conf):
    """Whether CMake accepted it, and what it said, its lines joined: it breaks them as it likes."""
    folder.mkdir(parents=True)
    (folder / "case.overlay").write_text(overlay)
    (folder / "case.conf").write_text(conf)
    done = subprocess.run(
        ["west", "build", "--cmake-only", "-b", BOARD, "-d", folder / "build", APPLICATION, "--",
         f"-DEXTRA_DTC_OVERLAY_FILE={folder / 'case.overlay'}", f"-DEXTRA_CONF_FILE={folder / 'case.conf'}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, " ".join(done.stdout.split())


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    bad = 0
    cases = [case for case in CASES if all(word in case[0] for word in sys.argv[2:])]
    for number, (what, overlay, conf, sentence) in enumerate(cases):
        accepted, said = configure(folder / str(number), overlay, conf)
        right = accepted if sentence is None else not accepted and sentence in said
        bad += not right
        print(f"{'ok  ' if right else 'BAD '} {what}: {'accepted' if sentence is None else sentence}", flush=True)
        if not right:
            print(said[-3000:])
    if bad:
        raise SystemExit(f"FAILED: {bad} of {len(cases)}")


main()
