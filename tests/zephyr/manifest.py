#!/usr/bin/env python3
"""Reads west.yml with west's own parser, its import from the west.yml of the Zephyr at ZEPHYR_BASE: no network.

    tests/zephyr/manifest.py [BUILD-FOLDER ...]

Fails when the allow-list names a project that Zephyr has not, when Zephyr's version is another than the pinned one, or when
a build used a module that the manifest would not bring.
"""

import os
import pathlib
import re
import sys

import yaml
from west.manifest import Manifest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ZEPHYR = pathlib.Path(os.environ["ZEPHYR_BASE"])


def zephyr_manifest(project, path):
    """What west would read from the repository of the project."""
    if project.name != "zephyr":
        raise SystemExit(f"FAILED: an import from {project.name}, which is not here")
    data = yaml.safe_load((ZEPHYR / path).read_text())
    # Zephyr's own place for additions, empty in a release.
    data["manifest"]["self"].pop("import", None)
    return yaml.safe_dump(data)


def used(build):
    """Names of the modules of a build, as Zephyr wrote them down."""
    return re.findall(r'^"([^"]+)"', (pathlib.Path(build) / "zephyr_modules.txt").read_text(), re.MULTILINE)


def main():
    text = (ROOT / "west.yml").read_text()
    allowed = yaml.safe_load(text)["manifest"]["projects"][0]["import"]["name-allowlist"]
    projects = {p.name: p for p in Manifest.from_data(text, importer=zephyr_manifest).projects}
    unknown = [name for name in allowed if name not in projects]
    if unknown:
        raise SystemExit(f"FAILED: west.yml allows what Zephyr has not: {', '.join(unknown)}")
    number = dict(re.findall(r"^(\w+) = *(\d+)", (ZEPHYR / "VERSION").read_text(), re.MULTILINE))
    version = f"v{number['VERSION_MAJOR']}.{number['VERSION_MINOR']}.{number['PATCHLEVEL']}"
    if projects["zephyr"].revision != version:
        raise SystemExit(f"FAILED: west.yml pins Zephyr {projects['zephyr'].revision}, ZEPHYR_BASE has {version}")
    brought = {*projects, "lang-rust", "sota"}
    for build in sys.argv[1:]:
        missing = [name for name in used(build) if name not in brought]
        if missing:
            raise SystemExit(f"FAILED: {build} uses modules that west.yml does not bring: {', '.join(missing)}")
    for project in projects.values():
        print(f"{project.name:18} {project.revision:42} {project.path}")


main()
