"""Whether the rows of a scan are the records of `check` on the same pictures, field by field.

    pixelsleuth check CORPUS --no-evidence --format jsonl --output check.jsonl
    pixelsleuth scan CORPUS --no-evidence --engine ray --out scan
    python benchmarks/scan_equality.py check.jsonl scan

Records are matched by `source`. `elapsed_ms` is left out: it is a time. Prints how many records are equal, which fields
differ in how many of the others, and how far numbers are apart at the most; the exit status is 0 where all are equal.
Either side may still be under way: what stands on one side only is counted.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.scale.results import Results
from pixelsleuth.scale.rows import HEATMAP, record_of, schema

TIMES = ("elapsed_ms",)
SHOWN = 5
"""Pictures that are named whose records differ."""


def records_of_check(path: str) -> Iterator[dict[str, Any]]:
    """The whole records of a file of JSON lines; a line that is still being written is left out."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def records_of_scan(folder: str) -> Iterator[dict[str, Any]]:
    """The records of the parts that stand."""
    with Results(folder) as results:
        for _, batch in results.batches([name for name in schema().names if name != HEATMAP]):
            for row in batch.to_pylist():
                record = record_of(row)
                if record is not None:
                    yield record
        for problem in results.problems:
            print(problem, file=sys.stderr)


def apart(one: Any, other: Any) -> float:
    """The largest distance of two values' numbers; infinite where anything else differs."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((apart(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(apart, one, other), default=0.0)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return abs(one - other) if numbers else 0.0 if one == other else float("inf")


def main(arguments: list[str]) -> int:
    """Compare, print, and return the exit status."""
    if len(arguments) != 2 or not Path(arguments[0]).is_file():
        raise SystemExit(__doc__)
    checked = {record["source"]: record for record in records_of_check(arguments[0])}
    both = equal = only_scanned = masks = errors = 0
    fields: Counter[str] = Counter()
    distances: dict[str, float] = {}
    for record in records_of_scan(arguments[1]):
        expected = checked.pop(record["source"], None)
        if expected is None:
            only_scanned += 1
            continue
        both += 1
        masks += expected["mask"] is not None
        errors += expected["error"] is not None
        differing = [
            name for name in sorted({*expected, *record} - {*TIMES}) if expected.get(name) != record.get(name)
        ]
        equal += not differing
        if differing and both - equal <= SHOWN:
            print(f"{record['source']}: {', '.join(differing)}", file=sys.stderr)
        for name in differing:
            fields[name] += 1
            distance = apart(expected.get(name), record.get(name))
            distances[name] = max(distances.get(name, 0.0), distance)
    print(
        f"{both:,} pictures on both sides ({masks:,} with a mask, {errors:,} errors): {equal:,} records are equal"
    )
    for name, number in fields.most_common():
        print(f"  {name} differs in {number:,}, numbers by at most {distances[name]:.3g}")
    print(f"on one side only: {len(checked):,} of check, {only_scanned:,} of scan")
    return 0 if both and both == equal and not only_scanned and not checked else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
