#!/usr/bin/env bash
# The two ways between module and MCU, over pseudo-terminals paced to the baud rate, in one run: AT pull and the binary link.
# What counts is the demo's phase download: the package over loopback CoAP into the module's flash, then over the wire, until
# it is verified in the MCU's flash. Prints a table and writes it into docs/performance.md. Needs python3.
#   benches/link.sh [package bytes] [baud rates, with commas]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build -q --release
exec python3 - "${CARGO_TARGET_DIR:-target}/release/sota" "${1:-262144}" "${2:-115200,230400,921600}" <<'PY'
import json, os, pathlib, platform, subprocess, sys

SOTA, SIZE, BAUDS = sys.argv[1], int(sys.argv[2]), [int(b) for b in sys.argv[3].split(",")]
RUNS = 3


def run(protocol, baud):
    command = [SOTA, "demo", "--json", "--protocol", protocol, "--baud", str(baud), "--size", str(SIZE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"FAILED: {protocol} at {baud}: {done.stdout[-500:]}{done.stderr[-500:]}")
    report = json.loads(done.stdout.strip().splitlines()[-1])
    return report["phases"]["download"], report["uart_bytes_to_mcu"]


rows = []
for baud in BAUDS:
    best = {}
    for _ in range(RUNS):
        for protocol in ("at", "link"):
            seconds, sent = run(protocol, baud)
            best[protocol] = min(best.get(protocol, (9e9, 0)), (seconds, sent))
    for protocol, (seconds, sent) in best.items():
        share = 100 * SIZE * 10 / baud / seconds
        rows.append((baud, protocol, SIZE / seconds / 1000, share, 100 * SIZE / sent))
        print(rows[-1], file=sys.stderr)
lines = [f"A package of {SIZE:,} bytes from the Center (loopback, one piece) to the verified flash of the MCU, the best of {RUNS} runs each, alternately; {os.cpu_count()} processors, "
         f"Linux {platform.release().split('-')[0]}. Written by `benches/link.sh`.", "",
         "| baud | protocol | kB/s | of the line's rate | package bytes of all on the line |", "|---:|---|---:|---:|---:|"]
lines += [f"| {baud:,} | {protocol} | {rate:.1f} | {share:.1f} % | {net:.1f} % |" for baud, protocol, rate, share, net in rows]
print("\n".join(lines))
begin, end = "<!-- link: begin -->", "<!-- link: end -->"
page = pathlib.Path("docs/performance.md")
head, rest = page.read_text().split(begin, 1)
page.write_text(head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1])
PY
