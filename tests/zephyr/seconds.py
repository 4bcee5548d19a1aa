#!/usr/bin/env python3
"""Seconds of each suite to build and to run, from twister.json."""

import json
import sys

for suite in json.load(open(sys.argv[1]))["testsuites"]:
    build, run = (float(suite.get(key) or 0) for key in ("build_time", "execution_time"))
    print(f"{suite['name']:34} {suite['status']:10} build {build:6.1f} s  run {run:6.1f} s")
