"""What `scan` costs: planning 10^7 inputs, memory over the number of inputs, resuming, hashing.

    python benchmarks/scale.py plan [ROWS]
    python benchmarks/scale.py memory
    python benchmarks/scale.py resume [SHARDS...]
    python benchmarks/scale.py phash MANIFEST [PICTURES]

Each measurement runs in a process of its own, so that its peak memory is its own; processor time includes the decoding
processes, peak memory does not. Everything is made for the run and removed after it. Prints Markdown tables.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pixelsleuth.pictures.images import open_picture
from pixelsleuth.scale import parts, sources
from pixelsleuth.scale.duplicates import TOLERANCE
from pixelsleuth.scale.hashing import phash
from pixelsleuth.scale.listing import pieces
from pixelsleuth.scale.plan import Plan, PlanSettings, write_plan
from pixelsleuth.scale.scanning import ScanOptions, run_scan
from scan_tools import alone, picture, timed

PICTURES = 100
"""Different pictures of the measurement of memory; the list names them again and again."""
SHARD = 500


def settings(source: str) -> PlanSettings:
    return PlanSettings(source, os.getcwd(), SHARD)


def plan(kind: str, rows: int, folder: Path) -> dict[str, float]:
    """Plan `rows` inputs that a list or a Parquet manifest names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = folder / {"list": "list.txt", "manifest": "manifest.parquet"}[kind]
    step = 1 << 16
    if kind == "list":
        with open(source, "w") as file:
            for first in range(0, rows, step):
                numbers = range(first, min(first + step, rows))
                file.writelines(f"/store/{n // 1000:06d}/picture-{n:010d}.jpg\n" for n in numbers)
    else:
        schema = pa.schema([("path", pa.string()), ("size", pa.int64()), ("source", pa.string())])
        with pq.ParquetWriter(source, schema) as writer:
            for first in range(0, rows, step):
                numbers = range(first, min(first + step, rows))
                names = [f"/store/{n // 1000:06d}/picture-{n:010d}.jpg" for n in numbers]
                sizes = [40_000 + n % 9973 for n in numbers]
                origins = [f"site {n % 7}" for n in numbers]
                writer.write_table(pa.table([names, sizes, origins], schema=schema))
    return timed(
        lambda: write_plan(folder, sources.inputs(str(source)), settings(str(source)), lambda _: None)
    )


def memory(inputs: int, folder: Path) -> dict[str, float]:
    """Scan a list of `inputs` lines with the stub."""
    paths = [picture(folder, number, 64) for number in range(PICTURES)]
    source = folder / "list.txt"
    source.write_text("".join(f"{paths[n % PICTURES]}\n" for n in range(inputs)))
    options = ScanOptions(
        str(folder / "out"), model="scan_tools:stub", evidence=False, quiet=True, shard_size=SHARD
    )
    figures = timed(lambda: run_scan(str(source), options))
    made = sum(path.stat().st_size for path in (folder / "out").rglob("*.parquet"))
    return figures | {"rate": inputs / figures["wall"], "bytes": made / inputs}


def resume(shards: int, folder: Path) -> dict[str, float]:
    """Find the missing parts where all parts stand but one: copies of one part, linked under every name."""
    write_plan(
        folder,
        pieces((f"p{n}.jpg", n) for n in range(shards)),
        PlanSettings("list", "", 1),
        lambda _: None,
    )
    first = parts.write_part(folder, 0, [], {"name": "stub", "version": "1"}).read_bytes()
    for shard in range(1, shards):
        path = parts.part_path(folder, shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        if shard != shards // 2:
            path.write_bytes(first)
    left: list[int] = []
    figures = timed(lambda: left.extend(parts.missing(Plan.open(folder), folder)))
    assert left == [shards // 2]
    return figures


def hashes(manifest: str, pictures: int) -> Iterator[str]:
    """The lines of a table: how far re-saved copies are from their pictures, and different pictures from each other."""
    with open(manifest, newline="", encoding="utf-8") as file:
        paths = [Path(manifest).parent / row["path"] for row in csv.DictReader(file)]
    drawn = np.random.default_rng(0).permutation(len(paths))[:pictures]
    found: list[int] = []
    copies: dict[str, list[int]] = {"JPEG 95": [], "JPEG 75": [], "JPEG 50": [], "half the size": []}
    for number in drawn:
        image = Image.fromarray(open_picture(paths[number]).pixels)
        found.append(phash(np.asarray(image)))
        for name, distances in copies.items():
            stream = io.BytesIO()
            if name.startswith("JPEG"):
                image.save(stream, "JPEG", quality=int(name.split()[1]))
            else:
                image.resize((image.width // 2, image.height // 2)).save(stream, "PNG")
            copy = np.asarray(Image.open(stream).convert("RGB"))
            distances.append((found[-1] ^ phash(copy)).bit_count())
    yield f"| copy of {len(found)} pictures | taken for its picture |\n|---|---:|"
    for name, distances in copies.items():
        yield f"| {name} | {np.mean(np.array(distances) <= TOLERANCE):.1%} |"
    nearest = min((one ^ other).bit_count() for one, other in itertools.combinations(found, 2))
    yield f"| the nearest two of the pictures | {nearest} bits apart |"


def tables(what: str, numbers: list[int]) -> Iterator[str]:
    """The lines of the table of one measurement."""
    if what == "plan":
        yield "| a plan of | inputs | seconds | of the processor | peak MB |\n|---|---:|---:|---:|---:|"
        for kind in ("list", "manifest"):
            rows = (numbers or [10_000_000])[0]
            got = alone(__file__, "plan", kind, rows)
            yield f"| a {kind} | {rows:,} | {got['wall']:.0f} | {got['cpu']:.0f} | {got['peak']:.0f} |"
    elif what == "memory":
        yield "| inputs | peak MB | pictures/s | processor ms each | bytes a row |\n|---:|---:|---:|---:|---:|"
        for inputs in numbers or [1_000, 10_000, 100_000]:
            got = alone(__file__, "memory", inputs)
            each = got["cpu"] * 1000 / inputs
            yield f"| {inputs:,} | {got['peak']:.0f} | {got['rate']:.0f} | {each:.2f} | {got['bytes']:.0f} |"
    else:
        yield "| shards | seconds | of the processor | microseconds a shard | peak MB |\n|---:|---:|---:|---:|---:|"
        for shards in numbers or [10_000, 100_000]:
            got = alone(__file__, "resume", shards)
            each = got["cpu"] * 1e6 / shards
            yield f"| {shards:,} | {got['wall']:.2f} | {got['cpu']:.2f} | {each:.0f} | {got['peak']:.0f} |"


def main(arguments: list[str]) -> None:
    """Run one measurement and print its table."""
    if arguments[:1] == ["--measure"]:
        folder, what, *rest = arguments[1:]
        measure = {"plan": plan, "memory": memory, "resume": resume}[what]
        values = [int(value) if value.isdigit() else value for value in rest]
        print(json.dumps(measure(*values, Path(folder))))  # type: ignore[operator]
        return
    if arguments[:1] == ["phash"] and len(arguments) > 1:
        for line in hashes(arguments[1], int(arguments[2]) if len(arguments) > 2 else 300):
            print(line)
        return
    if not arguments or arguments[0] not in ("plan", "memory", "resume"):
        raise SystemExit(__doc__)
    for line in tables(arguments[0], [int(number) for number in arguments[1:]]):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
