#!/usr/bin/env bash
# Debian's stm32flash against the simulated ROM loader: erases, writes, verifies and reads each chip, starts it, and finds out
# that a write-protected page was acknowledged and not written.
#   stm32flash.sh PATH-OF-SOTA
set -euo pipefail
sota=$(realpath "$1")
command -v stm32flash >/dev/null
work=$(mktemp -d)
mcu=
cleanup() {
    if [ -n "$mcu" ]; then kill "$mcu" 2>/dev/null || true; wait "$mcu" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

uart=
start() { # CHIP OPTION ...
    local chip=$1; shift
    rm -rf "$work/state"
    "$sota" --json mcu --protocol stm32 --chip "$chip" --uart pty --state "$work/state" \
        --component STM32 --version V1_0 "$@" >"$work/mcu" &
    mcu=$!
    for _ in $(seq 100); do
        uart=$(sed -n 's/.*"uart":"\([^"]*\)".*/\1/p' "$work/mcu")
        if [ -n "$uart" ]; then return; fi
        sleep 0.1
    done
    echo "FAILED: the simulated chip did not start" >&2
    exit 1
}

stop() {
    kill "$mcu"
    wait "$mcu" || true
    mcu=
}

fail() {
    echo "FAILED: $chip: $1" >&2
    tr '\r' '\n' <"$work/flash" | tail -20 >&2
    exit 1
}

# A pseudo-terminal has no parity bit.
flash() { timeout 120 stm32flash -m 8n1 "$@" "$uart" >"$work/flash" 2>&1; }

python3 -c 'import sys; sys.stdout.buffer.write(bytes((i * i + i // 253) % 256 for i in range(30_001)))' >"$work/image"
for chip in f103 f405 g071; do
    start "$chip"
    flash || fail "it is not known"
    grep -q '^Device ID' "$work/flash" || fail "no device id"
    device=$(sed -n 's/^Device ID *: //p' "$work/flash")
    flash -w "$work/image" -v || fail "write and verify"
    grep -q 'Done' "$work/flash" || fail "not done"
    cmp -s -n 30001 "$work/image" "$work/state/stm32-flash.bin" || fail "the flash is not the image"
    flash -r "$work/back" -S 0x08000000:30001 || fail "read"
    cmp -s "$work/image" "$work/back" || fail "what was read is not the image"
    flash -o -s 1 -e 2 || flash -o || fail "erase"
    flash -o || fail "erase of all"
    tr -d '\377' <"$work/state/stm32-flash.bin" | cmp -s - /dev/null || fail "not all is erased"
    flash -w "$work/image" -v -g 0x08000000 || fail "write, verify and go"
    for _ in $(seq 50); do
        if grep -q '"event":"application"' "$work/mcu"; then break; fi
        sleep 0.1
    done
    grep -q '"event":"application"' "$work/mcu" || fail "the application was not started"
    stop

    start "$chip" --protect 0
    if flash -w "$work/image" -v; then fail "a protected page was written"; fi
    grep -q 'Failed to verify' "$work/flash" || fail "the verify did not find it"
    stop
    echo "ok: $chip: stm32flash finds $device, erases, writes, verifies, reads, starts it, and sees through a protected page"
done
