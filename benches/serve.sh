#!/usr/bin/env bash
# Serving Block2 over loopback: CPU time of our Center and of libcoap's coap-server per 100,000 blocks, the same load
# generator for both, alternately, one client and 1,000 at once. Prints a table and writes it into docs/performance.md.
#   benches/serve.sh [runs] [blocks per run]
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}
blocks=${2:-100000}
server=$(command -v coap-server-notls || command -v coap-server)
client=$(command -v coap-client-notls || command -v coap-client)
cargo build -q --release -p sota-center --example package_server --example block_load
examples=${CARGO_TARGET_DIR:-target}/release/examples
work=$(mktemp -d)
pid=
cleanup() {
    if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes(1 << 20))' >"$work/package"
port=$(python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

load() { # name, clients, uri
    "$examples/block_load" --uri "$3" --file "$work/package" --pid "$pid" --clients "$2" --blocks "$blocks" \
        | tee -a "$work/$1-$2" >&2
}

center() {
    "$examples/package_server" "$work/package" "$port" >"$work/uri" 2>"$work/center.log" &
    pid=$!
    until [ -s "$work/uri" ]; do sleep 0.1; done
    sleep 1
    load center "$1" "$(cat "$work/uri")"
    stop -INT
}

libcoap() {
    "$server" -A 127.0.0.1 -p "$port" -d 10 >"$work/libcoap.log" 2>&1 &
    pid=$!
    sleep 1
    "$client" -m put -b 1024 -t 42 -f "$work/package" "coap://127.0.0.1:$port/package"
    load libcoap "$1" "coap://127.0.0.1:$port/package"
    stop -INT
}

stop() {
    kill "$1" "$pid"
    wait "$pid" || true
    pid=
    : >"$work/uri"
}

for clients in 1 1000; do
    for _ in $(seq "$runs"); do
        center "$clients"
        libcoap "$clients"
    done
done

SERVER=$("$server" -h 2>&1 | grep -o 'v[0-9][0-9.]*' | head -n 1) python3 - "$work" "$runs" "$blocks" <<'PY'
import json, os, pathlib, platform, statistics, sys

work, runs, blocks = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def of(name, clients):
    return [json.loads(line) for line in (work / f"{name}-{clients}").read_text().splitlines()]


def median(rows, key):
    return statistics.median(row[key] for row in rows)


CPU, RATE = "server_cpu_seconds_per_100000_blocks", "blocks_per_second"
lines = [
    f"Medians of {runs} runs of {blocks:,} blocks of 1,024 bytes, alternately; coap-server is libcoap {os.environ['SERVER']};",
    f"{os.cpu_count()} processors, Linux {platform.release().split('-')[0]}. Written by `benches/serve.sh`.",
    "",
    "| clients at once | Center, CPU s per 100,000 blocks | coap-server | ratio | Center, blocks/s | coap-server | Center, least and greatest CPU s | coap-server |",
    "|---:|---:|---:|---:|---:|---:|---:|---:|",
]
for clients in (1, 1000):
    ours, theirs = of("center", clients), of("libcoap", clients)
    a, b = median(ours, CPU), median(theirs, CPU)
    spread = [f"{min(r[CPU] for r in rows):.2f} - {max(r[CPU] for r in rows):.2f}" for rows in (ours, theirs)]
    lines.append(f"| {clients:,} | {a:.2f} | {b:.2f} | {a / b:.2f} | {median(ours, RATE):,.0f} | {median(theirs, RATE):,.0f} | {spread[0]} | {spread[1]} |")
table = "\n".join(lines)
print(table)

begin, end = "<!-- serve: begin -->", "<!-- serve: end -->"
page = pathlib.Path("docs/performance.md")
text = page.read_text() if page.exists() else "# Performance\n"
if begin not in text:
    text = text.rstrip("\n") + f"\n\n## Serving package blocks\n\n{begin}\n{end}\n"
head, rest = text.split(begin, 1)
tail = rest.split(end, 1)[1]
page.write_text(f"{head}{begin}\n{table}\n{end}{tail}")
PY
