"""What `summarise` costs on a made-up scan: seconds and peak memory of the summary, the page and each export.

    python benchmarks/summaries.py                       # a million rows
    python benchmarks/summaries.py --rows 100000 --keep made-up/

Rows are as those of the bundled detector; those labelled tampered have a mask. The pictures do not exist: the contact
sheet of the page shows their names only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.rle import encode
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import PictureNotFound
from pixelsleuth.scale.listing import Entry, listing
from pixelsleuth.scale.parts import write_part
from pixelsleuth.scale.plan import PlanSettings, write_plan
from pixelsleuth.scale.rows import duplicate_row, row_of

MODEL = {"name": "made-up", "version": "1"}
SOURCES = ("forum", "agency", "archive", "messenger", "unknown")
SIDES = (640, 480)
PIECE = 50_000


def make(out: Path, rows: int, shard_size: int, seed: int = 0) -> None:
    """Fill `out` with the plan and the parts of a scan of `rows` inputs: errors, duplicates and all labels."""
    out.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    origins = draw.integers(0, len(SOURCES), rows)
    names = [SOURCES[origin] for origin in origins]
    tables = (
        listing([f"pictures/{i}.jpg" for i in range(at, min(rows, at + PIECE))],
                origins=names[at : at + PIECE])
        for at in range(0, rows, PIECE)
    )  # fmt: skip
    plan = write_plan(out, tables, PlanSettings("made-up", "", shard_size), lambda _: None)
    (out / "scan.json").write_text(json.dumps({"schema": "pixelsleuth.scan/1", "model": MODEL}))
    started = datetime(2026, 11, 1, tzinfo=UTC)
    templates = [_verdict(draw) for _ in range(100)]
    for shard in range(plan.shards):
        made = [
            _row(entry, draw, templates, started + timedelta(seconds=entry.id * 0.4))
            for entry in plan.entries(shard)
        ]
        write_part(out, shard, made, MODEL)
    plan.close()


def _verdict(draw: np.random.Generator) -> dict[str, Any]:
    """The row of a verdict as the bundled detector writes them."""
    shares = draw.dirichlet((1.2, 0.8, 0.8))
    label = list(Label)[int(shares.argmax())]
    verdict = Verdict(
        "", "0" * 64, *SIDES, label, float(shares.max()),
        dict(zip(Label, shares.tolist(), strict=True)), inconclusive=bool(shares.max() < 0.7),
        explanation="The edges of the marked part do not fit the light around it, and its noise is another. " * 2,
        model=MODEL, elapsed_ms=35.0, decision={"sentence": "made up"}, examined=True,
    )  # fmt: skip
    row = row_of(Entry(0, ""), verdict, datetime.now(UTC))
    if label is Label.TAMPERED:
        mask = np.zeros(SIDES[::-1], bool)
        x, y = draw.integers(0, 300, 2)
        mask[y : y + 120, x : x + 150] = draw.random((120, 150)) < 0.9
        row["mask"] = {"rle": encode(mask), "area": int(mask.sum())}
        row["regions"] = [{"box": [int(x), int(y), int(x) + 150, int(y) + 120], "area": 18000, "score": 0.9}]
    return row


def _row(
    entry: Entry, draw: np.random.Generator, templates: list[dict[str, Any]], judged_at: datetime
) -> dict[str, Any]:
    chance = draw.random()
    if chance < 0.01:
        gone = PictureNotFound(f"{entry.location} does not exist; check the name.")
        return row_of(entry, Verdict.failed(entry.location, gone, MODEL), judged_at)
    if chance < 0.03:
        original = Entry(entry.id, entry.location, origin=entry.origin, duplicate_of=0)
        return duplicate_row(original, judged_at)
    row = templates[int(draw.integers(len(templates)))]
    own = {"id": entry.id, "origin": entry.origin, "judged_at": judged_at, "source": entry.location}
    return {**row, **own, "sha256": f"{entry.id:064x}"}


CODE = """
import re, sys, time
from pathlib import Path
from pixelsleuth.scale.summarising import SummaryOptions, run_summarise
started = time.perf_counter()
status = run_summarise(sys.argv[1], SummaryOptions(report=sys.argv[2] or None, export=tuple(sys.argv[3:])))
spent = time.perf_counter() - started
# Not getrusage: its peak begins with that of the process that started this one.
peak = int(re.search("VmHWM:(.*) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(f"MEASURED {spent:.1f} s, peak {peak:.0f} MB, status {status}", file=sys.stderr)
"""


def measure(scan: Path, report: str, *exports: str) -> str:
    """Seconds and peak memory of one run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(scan), report, *exports], capture_output=True, text=True, check=False
    )
    found = re.search(r"MEASURED (.*)", done.stderr)
    return found[1] if found else f"failed: {done.stderr[-400:]}"


def main() -> None:
    """Make the scan, measure, print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shard-size", type=int, default=500)
    parser.add_argument("--keep", metavar="DIR", help="keep the made-up scan there, and use it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scan = Path(options.keep or Path(temporary) / "scan")
        if not (scan / "scan.json").exists():
            started = time.perf_counter()
            make(scan, options.rows, options.shard_size)
            print(f"made {options.rows:,} rows in {time.perf_counter() - started:.0f} s", flush=True)
        here = Path(temporary)
        print(f"figures        {measure(scan, '')}", flush=True)
        print(f"page           {measure(scan, str(here / 'page.html'))}", flush=True)
        for ending in ("csv", "jsonl", "json"):
            target = here / f"rows.{ending}"
            print(f"export .{ending:<6} {measure(scan, '', str(target))}; "
                  f"{target.stat().st_size / 1e6:.0f} MB", flush=True)  # fmt: skip
            target.unlink()


if __name__ == "__main__":
    main()
