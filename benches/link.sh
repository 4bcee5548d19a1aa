#!/usr/bin/env bash
# The ways between module and MCU side by side: the binary link, AT pull, SMP, the STM32's ROM loader, and YMODEM as lrzsz has it, over
# pseudo-terminals paced to the baud rate, a clean line and one with a wrong bit in 1 of 10,000 bytes, in one run.
#
# What counts is the time from the whole package in the module's flash (10703) to the verified one in the MCU's (state 9), of YMODEM the
# time of the transfer. An erase of a page of the MCU's flash takes 2 ms. Prints a table and writes it into docs/performance.md.
# Needs python3 and Debian's lrzsz.
# SMP's image is the package with MCUboot's header and TLVs; AT commands have no checksum, so one wrong byte is found by the digest
# of the whole. Limits: 12 times the clean line's time, at least 60 s.
#   benches/link.sh [seconds a run should take on a clean line] [baud rates, with commas]
#   benches/link.sh 11.5 115200,921600 link      only these ways, a table of its own
set -euo pipefail
cd "$(dirname "$0")/.."
command -v sb rb >/dev/null || { echo "benches/link.sh: needs sb and rb (apt install lrzsz)" >&2; exit 2; }
cargo build -q --release
cargo build -q --release -p sota-host --example wire
exec python3 - "${CARGO_TARGET_DIR:-target}/release" "${1:-11.5}" "${2:-115200,921600}" "${3:-}" <<'PY'
import json, os, pathlib, platform, subprocess, sys, tempfile, time

BIN, SECONDS, BAUDS = pathlib.Path(sys.argv[1]), float(sys.argv[2]), [int(b) for b in sys.argv[3].split(",")]
RUNS, PAGE_MS = 3, 2
LIMIT = int(max(60, 12 * SECONDS))
WAYS = ["link", "at", "smp", "stm32", "ymodem"]
ONLY = sys.argv[4].split(",") if sys.argv[4] else []


def ours(protocol, baud, corrupt, size, seed):
    command = [BIN / "sota", "demo", "--json", "--protocol", protocol, "--baud", str(baud), "--size", str(size), "--staging", str(1 << 21)]
    command += ["--corrupt", str(corrupt), "--page-ms", str(PAGE_MS), "--seed", str(seed), "--timeout", str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * LIMIT)
    report = json.loads(done.stdout.strip().splitlines()[-1])
    if report.get("result") != "success":
        if report.get("name") != "UpgradeTooSlow":
            raise SystemExit(f"{command}: {report}")
        return None, None
    return report["hand_over_seconds"], report["uart_bytes_to_mcu"]


def ymodem(_, baud, corrupt, size, seed):
    with tempfile.TemporaryDirectory() as folder:
        image = pathlib.Path(folder, "image.bin")
        image.write_bytes(bytes(i * 2_654_435_761 >> 24 & 255 for i in range(size)))
        got = pathlib.Path(folder, "got")
        got.mkdir()
        line = subprocess.Popen([BIN / "examples/wire", str(baud), str(corrupt), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        a, b = (open(line.stdout.readline().strip(), "r+b", buffering=0) for _ in range(2))
        receiver = subprocess.Popen(["rb", "-q", "-b"], cwd=got, stdin=b, stdout=b, stderr=subprocess.DEVNULL)
        time.sleep(0.2)
        began = time.monotonic()
        sender = subprocess.Popen(["sb", "-q", "-k", "-b", image], stdin=a, stdout=a, stderr=subprocess.DEVNULL)
        seconds = None
        try:
            receiver.wait(LIMIT)
            seconds = time.monotonic() - began
        except subprocess.TimeoutExpired:
            receiver.kill()
            receiver.wait()
        try: # the receiver does not wait until its last answer has left, and the sender then waits for it in vain
            sender.wait(2)
        except subprocess.TimeoutExpired:
            sender.kill()
            sender.wait()
        sent = int(line.communicate("")[0].split()[0])
        whole = (got / "image.bin").exists() and (got / "image.bin").read_bytes() == image.read_bytes()
        return (seconds, sent) if whole and seconds else (None, None)


rows = []
for baud in BAUDS:
    size = int(baud / 10 * SECONDS) // 4096 * 4096
    for corrupt in (0, 100):
        found = {}
        for run in range(RUNS):
            for way in ONLY or WAYS:
                if found.get(way, [(0, 0)])[-1][0] is None:
                    continue # one failure says it
                seconds, sent = (ymodem if way == "ymodem" else ours)(way, baud, corrupt, size, run + 1)
                print(f"{baud} {way} {corrupt}: {seconds} s, {sent}", file=sys.stderr)
                found.setdefault(way, []).append((seconds, sent))
        for way, runs in found.items():
            whole = sorted(run for run in runs if run[0] is not None)
            if not whole:
                rows.append(f"| {baud:,} | {corrupt} | {way} | | not within {LIMIT} s | |")
                continue
            seconds, sent = whole[(len(whole) - 1) // 2]
            failed = "" if len(whole) == RUNS else f", {len(runs) - len(whole)} of {len(runs)} runs not within {LIMIT} s"
            rows.append(f"| {baud:,} | {corrupt} | {way} | {size / seconds / 1000:.1f} | {100 * size * 10 / baud / seconds:.1f} %{failed} | {100 * size / sent:.1f} % |")
version = subprocess.run(["sb", "--version"], capture_output=True, text=True).stdout.split()[-1]
YMODEM = "" if ONLY and "ymodem" not in ONLY else f"YMODEM is lrzsz {version} (`sb -k`), into a file. "
lines = [f"From the whole package in the module's flash to the verified one in the MCU's, blocks of 1,024 bytes, {PAGE_MS} ms to erase a page, about {SECONDS:g} s of the clean line, the median of {RUNS} runs each, alternately;",
         f"{os.cpu_count()} processors, Linux {platform.release().split('-')[0]}. {YMODEM}Written by `benches/link.sh`.", "",
         "| baud | wrong of a million bytes | way | kB/s | of the line's rate | package bytes of all to the MCU |", "|---:|---:|---|---:|---:|---:|"] + rows
print("\n".join(lines))
name = "only" if ONLY else "link"
begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
page = pathlib.Path("docs/performance.md")
head, rest = page.read_text().split(begin, 1)
page.write_text(head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1])
PY
