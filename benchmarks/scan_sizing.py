"""How many machines a number of pictures a day takes, and what they store and carry: a table from measured inputs.

    python benchmarks/scan_sizing.py --rate "NAME=PICTURES_A_SECOND" ... [--scan DIR] [--masks DIR] [--picture-bytes N]
                                     [--share S] [--figure FILE.png]

    python benchmarks/scan_sizing.py --rate "compact, 2 cores=2.8" --rate "TruFor, 2 cores=0.54" --scan scan/

`--rate` is what one machine was measured to do, whatever the machine is. `--scan` is a scan that stands, best one with
`--heat-maps`: bytes a row are read from its parts, column by column. `--masks` is a folder of masks (PNG, 255 =
tampered): their run lengths are written into a part to learn what a mask takes; without it there is no such line.
`--share` is the part of its speed that a machine gives over a day (0.8: starts, tails, repairs).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.scale.listing import Entry
from pixelsleuth.scale.parts import write_part
from pixelsleuth.scale.rows import HEATMAP, row_of

DAILY = (10**6, 10**8, 10**9)
DAY = 86_400
PLAN_BYTES = 4.0
"""Bytes of the plan an input (`scan_billion.py`)."""
MOST_MASKS = 500
"""Masks that are encoded: the rows of a part."""


def stored(scan: str) -> dict[str, float]:
    """Mean bytes a row of the parts of a scan: all of it, the masks, the heat maps (of the rows that have one)."""
    import pyarrow.parquet as pq

    rows = whole = 0
    columns = {"mask": 0, HEATMAP: 0}
    having = {"mask": 0, HEATMAP: 0}
    for path in Path(scan).rglob("part-*.parquet"):
        file = pq.ParquetFile(path)
        rows += file.metadata.num_rows
        whole += path.stat().st_size
        for group in range(file.metadata.num_row_groups):
            for number in range(file.metadata.num_columns):
                column = file.metadata.row_group(group).column(number)
                name = column.path_in_schema.split(".")[0]
                if name in columns:
                    columns[name] += column.total_compressed_size
        table = file.read(columns=list(columns))
        for name in columns:
            having[name] += len(table) - table[name].null_count
    if not rows:
        raise SystemExit(f"{scan} has no parts.")
    plain = (whole - sum(columns.values())) / rows
    return {"row": plain} | {name: columns[name] / having[name] for name in columns if having[name]}


def mask_bytes(folder: str) -> float:
    """Bytes that a mask adds to a row: a part with the masks of a folder less one without."""
    from PIL import Image

    entry, verdict = Entry(0, "p.jpg"), Verdict("p.jpg", model={"name": "m", "version": "1"})
    rows: list[dict[str, Any]] = []
    bare: list[dict[str, Any]] = []
    for path in sorted(Path(folder).rglob("*.png"))[:MOST_MASKS]:
        with Image.open(path) as image:
            verdict.mask = np.asarray(image.convert("L")) > 127
        rows.append(row_of(entry, verdict, datetime.now(UTC)) | {"id": len(rows)})
        bare.append(rows[-1] | {"mask": None})
    if not rows:
        raise SystemExit(f"{folder} has no masks.")
    with tempfile.TemporaryDirectory() as out:
        sizes = [write_part(out, 0, each, verdict.model).stat().st_size for each in (rows, bare)]
    return (sizes[0] - sizes[1]) / len(rows)


def machines(daily: int, rate: float, share: float) -> int:
    """Machines that judge `daily` pictures a day, each `rate` a second for a `share` of the day.

    >>> machines(10**6, 2.0, 0.8), machines(10**8, 2.0, 0.8)
    (8, 724)
    """
    return math.ceil(daily / (rate * share * DAY))


def amount(number: float, unit: str = "B") -> str:
    """A number with three digits and a prefix.

    >>> amount(2_345_000), amount(999), amount(1.5e12, "bit/s")
    ('2.35 MB', '999 B', '1.5 Tbit/s')
    """
    power = min(5, max(0, int(math.log10(max(1.0, number)) // 3)))
    return f"{number / 1000**power:.3g} {('', 'k', 'M', 'G', 'T', 'P')[power]}{unit}"


def tables(rates: dict[str, float], row: dict[str, float], picture: float, share: float) -> Iterator[str]:
    """The lines of both tables."""
    heads = "".join(f" {amount(daily, '')} |" for daily in DAILY)
    yield f"| detector and machine | pictures/s | machines for pictures a day:{heads}"
    yield "|---|---:|" + "---:|" * len(DAILY)
    for name, rate in rates.items():
        counts = "".join(f" {machines(daily, rate, share):,} |" for daily in DAILY)
        yield f"| {name} | {rate:g} |{counts}"
    yield f"\n| what | each |{heads}\n|---|---:|" + "---:|" * len(DAILY)
    lines: dict[str, tuple[float | None, list[str]]] = {
        "pictures a second, mean": (None, [f"{daily / DAY:,.0f}" for daily in DAILY]),
        "plan, a day": (PLAN_BYTES, [amount(daily * PLAN_BYTES) for daily in DAILY]),
        "rows, a day": (row["row"], [amount(daily * row["row"]) for daily in DAILY]),
    }
    for name, spoken in (("mask", "masks"), (HEATMAP, "heat maps")):
        if name in row:
            each = row[name]
            lines[f"{spoken}, a day, where every picture has one"] = (
                each,
                [amount(daily * each) for daily in DAILY],
            )
    lines["pictures read, all machines"] = (
        picture, [amount(daily * picture * 8 / DAY, "bit/s") for daily in DAILY],
    )  # fmt: skip
    for what, (size, cells) in lines.items():
        yield f"| {what} | {'' if size is None else f'{size:,.0f} B'} | {' | '.join(cells)} |"
    for name, rate in rates.items():
        carried, processor = amount(rate * picture * 8, "bit/s"), 1000 / rate
        yield f"\n{name}: reads {carried} a machine; bound by the judge, {processor:,.0f} ms a picture."


def draw(rates: dict[str, float], share: float, path: str) -> None:
    """Draw machines over pictures a day."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    days = np.geomspace(10**5, 10**9, 500)
    for name, rate in sorted(rates.items(), key=lambda item: item[1]):
        counts = [machines(int(daily), rate, share) for daily in days]
        axes.plot(days, counts, label=f"{name}: {rate:g} pictures/s")
    axes.set(xscale="log", yscale="log", xlabel="pictures a day", ylabel="machines")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments: list[str]) -> None:
    """Print the tables and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", action="append", required=True, metavar="NAME=PICTURES_A_SECOND")
    parser.add_argument("--scan", required=True)
    parser.add_argument("--masks")
    parser.add_argument("--picture-bytes", type=float, default=200_000)
    parser.add_argument("--share", type=float, default=0.8)
    parser.add_argument("--figure")
    given = parser.parse_args(arguments)
    rates = {name: float(rate) for name, _, rate in (text.rpartition("=") for text in given.rate)}
    if not all(name and rate > 0 for name, rate in rates.items()) or not 0 < given.share <= 1:
        parser.error("a rate is NAME=PICTURES_A_SECOND above 0, a share is above 0 and at most 1")
    row = stored(given.scan)
    if given.masks:
        row["mask"] = mask_bytes(given.masks)
    for line in tables(rates, row, given.picture_bytes, given.share):
        print(line)
    if given.figure:
        draw(rates, given.share, given.figure)


if __name__ == "__main__":
    main(sys.argv[1:])
