"""What a scan of 10^9 pictures costs beside the judging: measured at three sizes, extrapolated by a stated model.

    python benchmarks/scan_billion.py [--shards 10000 100000 1000000] [--repeats N] [--figure FILE.png]

Measured: planning from a Parquet manifest (per input); listing the parts, and finding the missing one among them as
`--resume` does (per shard); opening a plan, whose footer has an entry for every 65,500 inputs, at the very number of
entries that 10^9 inputs give. Each measurement runs in a process of its own; with --repeats the fastest counts.

The model is t(n) = a + b n in seconds of the processor, fitted by least squares of relative residuals (one thread does
all of it and the files are in the page cache, so that this is nearly the wall time of a machine at rest); beside it
stands the exponent of t ~ n^p between the two largest sizes, which says whether the line holds (p = 1) or something
grows faster (p > 1). 10^9 inputs are 2,000,000 shards of 500.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pixelsleuth.scale import parts, sources
from pixelsleuth.scale.listing import PIECE, pieces
from pixelsleuth.scale.plan import Plan, PlanSettings, write_plan
from scan_tools import alone, timed

INPUTS = 10**9
SHARD = 500
ROWS_A_SHARD = 10
"""Inputs of the manifest for each shard of the list: planning costs by inputs, and 10^7 of them show it."""
ROUND_TRIP = 1e-3
"""Seconds of a round trip to a shared file system, for the line that says what the network adds: assumed."""
DEDUP_BYTES = 8 + 16 + 8
"""Bytes an input that `scale.duplicates` holds: an id, half a hash, and a size or an order."""
CALLS = 3
"""Round trips a part: open, size, end."""
Series = dict[int, float]


def planning(rows: int, folder: Path) -> dict[str, float]:
    """Plan `rows` inputs of a Parquet manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = folder / "manifest.parquet"
    schema = pa.schema([("path", pa.string()), ("size", pa.int64()), ("source", pa.string())])
    with pq.ParquetWriter(source, schema) as writer:
        for first in range(0, rows, PIECE):
            numbers = range(first, min(first + PIECE, rows))
            names = [f"/store/{n // 1000:06d}/picture-{n:010d}.jpg" for n in numbers]
            sizes = [40_000 + n % 9973 for n in numbers]
            writer.write_table(pa.table([names, sizes, [f"site {n % 7}" for n in numbers]], schema=schema))
    settings = PlanSettings(str(source), "", SHARD)
    figures = timed(lambda: write_plan(folder, sources.inputs(str(source)), settings, lambda _: None))
    return figures | {"bytes": (folder / "plan.parquet").stat().st_size}


def resuming(shards: int, folder: Path) -> dict[str, float]:
    """List the names of the parts, then find the one that is missing. Those of a folder are one file, linked."""
    settings = PlanSettings("list", "", 1)
    write_plan(folder, pieces((f"p{n}.jpg", n) for n in range(shards)), settings, lambda _: None)
    first = parts.write_part(folder, 0, [], {"name": "stub", "version": "1"})
    part = first.read_bytes()
    for shard in range(1, shards):
        path = parts.part_path(folder, shard)
        if shard % parts.IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
            first = path
            first.write_bytes(part)
        elif shard != shards // 2 + 1:
            path.hardlink_to(first)
    started = time.process_time()
    names = sum(len(os.listdir(entry)) for entry in os.scandir(folder / parts.FOLDER))
    listed = time.process_time() - started
    left: list[int] = []
    figures = timed(lambda: left.extend(parts.missing(Plan.open(folder), folder)))
    assert left == [shards // 2 + 1]
    assert names == shards - 1
    return figures | {"listed": listed}


def opening(groups: int, folder: Path) -> dict[str, float]:
    """Open a plan with `groups` row groups and read a shard in its middle; each group holds one shard."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_plan(folder, pieces([("p.jpg", 1)]), PlanSettings("", "", PIECE), lambda _: None)
    schema = pq.read_schema(folder / "plan.parquet")
    with pq.ParquetWriter(folder / "plan.parquet", schema, compression="zstd") as writer:
        for group in range(groups):
            columns = [[group], [group], [f"p{group}.jpg"], [1], [None], [None], [None]]
            writer.write_table(
                pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
            )
    figures = timed(lambda: Plan.open(folder).close())
    return figures | {"bytes": (folder / "plan.parquet").stat().st_size}


def line(series: Series) -> tuple[float, float, float, float]:
    """(a, b, worst relative residual, exponent) of t = a + b n; none of both is below 0.

    >>> a, b, residual, exponent = line({10: 12.0, 100: 102.0, 1000: 1002.0})
    >>> round(a, 6), round(b, 6), round(residual, 6), round(exponent, 2)
    (2.0, 1.0, 0.0, 0.99)
    """
    n, t = np.array(list(series), float), np.array(list(series.values()))
    weighted = np.stack([1 / t, n / t], axis=1)
    (a, b), *_ = np.linalg.lstsq(weighted, np.ones(len(n)), rcond=None)
    if a < 0 or b < 0:  # noise: one constant says as much
        a, b = (0.0, float((n / t).sum() / ((n / t) ** 2).sum())) if a < 0 else (float(t.mean()), 0.0)
    residual = float(np.abs((a + b * n) / t - 1).max())
    exponent = float(np.log(t[-1] / t[-2]) / np.log(n[-1] / n[-2])) if len(n) > 1 else float("nan")
    return float(a), float(b), residual, exponent


def spoken(seconds: float) -> str:
    """Seconds in a unit that is read at once.

    >>> spoken(4.2), spoken(600), spoken(9000)
    ('4.2 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def measured(shards: list[int], repeats: int) -> dict[str, Series]:
    """The fastest of the repeats for each size, by what was measured; memory is the largest."""
    names = ("plan", "list", "resume", "plan, wall", "resume, wall", "plan, MB", "resume, MB", "plan, bytes")
    series: dict[str, Series] = {name: {} for name in names}
    for number in shards:
        for what, count in (("plan", number * ROWS_A_SHARD), ("resume", number)):
            runs = [alone(__file__, what, count) for _ in range(repeats)]
            print(json.dumps({what: count, "runs": runs}), file=sys.stderr, flush=True)
            series[what][count] = min(figures["cpu"] for figures in runs)
            series[f"{what}, wall"][count] = min(figures["wall"] for figures in runs)
            series[f"{what}, MB"][count] = max(figures["peak"] for figures in runs)
            if what == "plan":
                series["plan, bytes"][count] = runs[0]["bytes"]
            else:
                series["list"][count] = min(figures["listed"] for figures in runs)
    return series


def report(series: dict[str, Series], footer: dict[str, float]) -> Iterator[str]:
    """The lines of the tables: measured, fitted, and what it comes to."""
    yield "| measured | at | seconds | of the processor | peak MB |\n|---|---:|---:|---:|---:|"
    for name, unit in (("plan", "inputs"), ("list", "parts"), ("resume", "parts")):
        for number, seconds in series[name].items():
            wall, most = (series.get(f"{name}, {what}", {}).get(number) for what in ("wall", "MB"))
            cells = f"{'' if wall is None else f'{wall:.2f}'} | {seconds:.2f} | {'' if most is None else f'{most:.0f}'}"
            yield f"| {name} | {number:,} {unit} | {cells} |"
    yield "\n| t = a + b n | a, s | b, microseconds | worst residual | exponent | at 10^9 inputs |"
    yield "|---|---:|---:|---:|---:|---:|"
    totals = {}
    for name in ("plan", "list", "resume"):
        a, b, residual, exponent = line(series[name])
        totals[name] = a + b * (INPUTS if name == "plan" else INPUTS // SHARD)
        yield f"| {name} | {a:.3f} | {b * 1e6:.2f} | {residual:.0%} | {exponent:.2f} | {spoken(totals[name])} |"
    _, each, _, _ = line(series["plan, bytes"])
    groups = int(footer["groups"])
    yield f"\n* The plan has {each:.1f} bytes an input: {each * INPUTS / 1e9:.1f} GB."
    yield (
        f"* Opening a plan of 10^9 inputs ({groups:,} entries in its footer, measured): {footer['cpu']:.1f} s of the "
        f"processor, {footer['peak'] - footer['least']:.0f} MB more than an empty one. Each actor of Ray does it, too."
    )
    looks, network = 1 - totals["list"] / totals["resume"], CALLS * ROUND_TRIP * INPUTS / SHARD
    yield (
        f"* {looks:.0%} of resuming is the look at the end of each part. Over a network with {CALLS} round trips "
        f"a part of {ROUND_TRIP * 1e3:g} ms (assumed) it is {spoken(totals['resume'] + network)}: the network's."
    )
    yield (
        f"* `--dedup` holds {DEDUP_BYTES} bytes an input in the command itself: {DEDUP_BYTES * INPUTS / 1e9:.0f} GB "
        "(computed). It breaks first."
    )


def draw(series: dict[str, Series], path: str) -> None:
    """Draw what was measured, with the lines as far as 10^9 inputs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    names = {
        "plan": ("planning", 1, "#2a6f97"),
        "list": ("listing the parts", SHARD, "#8a8d91"),
        "resume": ("resuming", SHARD, "#b5476b"),
    }
    for name, (label, size, colour) in names.items():
        a, b, _, _ = line(series[name])
        numbers = np.array(list(series[name]), float)
        far = np.geomspace(numbers.min(), INPUTS / size, 50)
        axes.plot(far * size, a + b * far, "--", color=colour, linewidth=1)
        axes.plot(numbers * size, list(series[name].values()), "o", color=colour, label=label)
        axes.annotate(
            spoken(a + b * INPUTS / size),
            (INPUTS, a + b * INPUTS / size),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )
    axes.set(
        xscale="log", yscale="log", xlabel=f"inputs (shards of {SHARD})", ylabel="seconds of the processor"
    )
    axes.set_xlim(right=INPUTS * 6)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments: list[str]) -> None:
    """Measure, print, draw."""
    if arguments[:1] == ["--measure"]:
        folder, what, number = arguments[1:]
        measure = {"plan": planning, "resume": resuming, "open": opening}[what]
        print(json.dumps(measure(int(number), Path(folder))))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--figure")
    given = parser.parse_args(arguments)
    series = measured(given.shards, given.repeats)
    groups = -(-INPUTS // (SHARD * (PIECE // SHARD)))
    footer = alone(__file__, "open", groups) | {
        "groups": groups,
        "least": alone(__file__, "open", 1)["peak"],
    }
    for text in report(series, footer):
        print(text, flush=True)
    if given.figure:
        draw(series, given.figure)


if __name__ == "__main__":
    main(sys.argv[1:])
