"""Print which share of the package's lines the tests ran, by room: `make coverage`. Exit status 1 below the bound.

Reads .coverage, which `coverage run` and `coverage combine` leave. A line counts as run if any test ran it, in whatever
process; lines of code alone count, as coverage.py reads them. Copies of the package that tests make do not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

AT_LEAST = 85.0
"""Percent of all lines."""


def shares(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, tuple[int, int]]:
    """(lines that ran, lines) of every room, from coverage.py's JSON report; files beside the rooms are one, too."""
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, file in report["files"].items():
        inside = Path(name).parts[Path(name).parts.index("pixelsleuth") + 1 :]
        room = rooms[inside[0] if len(inside) > 1 else "(top)"]
        room[0] += file["summary"]["covered_lines"]
        room[1] += file["summary"]["num_statements"]
    return {name: (ran, lines) for name, (ran, lines) in rooms.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "coverage", "json", "--quiet", "--include=src/*", "-o", str(report)]
        if subprocess.run(command).returncode:
            sys.exit("There is no .coverage to read: run `make coverage`.")
        rooms = shares(json.loads(report.read_text(encoding="utf-8")))
    ran, lines = (sum(room[k] for room in rooms.values()) for k in (0, 1))
    for name, (its, all_of_it) in sorted(rooms.items(), key=lambda room: room[1][0] / max(room[1][1], 1)):
        print(f"{name:<12} {all_of_it:>6} lines  {100 * its / max(all_of_it, 1):5.1f} %")
    total = 100 * ran / max(lines, 1)
    print(f"{'all':<12} {lines:>6} lines  {total:5.1f} %   (at least {AT_LEAST:.0f} %)")
    sys.exit(0 if total >= AT_LEAST else 1)


if __name__ == "__main__":
    main()
