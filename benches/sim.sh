#!/usr/bin/env bash
# Speed of the simulator on one core; writes the table of docs/testing.md. Needs python3 for that.
set -euo pipefail
cd "$(dirname "$0")/.."
table=$(cargo bench -q -p sota-sim --bench speed)
echo "$table"
TABLE=$table python3 - <<'PY'
import os, pathlib, platform

begin, end = "<!-- speed: begin -->", "<!-- speed: end -->"
page = pathlib.Path("docs/testing.md")
head, rest = page.read_text().split(begin, 1)
tail = rest.split(end, 1)[1]
words = f"One core, Linux {platform.release().split('-')[0]}. Written by `benches/sim.sh`."
page.write_text(f"{head}{begin}\n{words}\n\n{os.environ['TABLE']}\n{end}{tail}")
PY
