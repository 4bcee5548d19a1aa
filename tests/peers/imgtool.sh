#!/usr/bin/env bash
# MCUboot's imgtool against crates/mcu: its images are read, and installed one over the other in the simulated MCU.
#
#   tests/peers/imgtool.sh [IMGTOOL]      without an argument: the imgtool on PATH
set -euo pipefail
cd "$(dirname "$0")/../.."
IMGTOOL=$(command -v "${1:-imgtool}") || { echo "no imgtool here: pip install imgtool" >&2; exit 1; }
export IMGTOOL
"$IMGTOOL" version
out=$(cargo test -q -p sota-mcu --test mcuboot -- --ignored --nocapture imgtools_images)
echo "$out"
grep -q 'imgtool: 4 images' <<<"$out"
