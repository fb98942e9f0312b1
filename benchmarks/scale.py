"""What `scan` costs: planning 10^7 inputs, memory over the number of inputs, resuming, speed beside the model's own.

    python benchmarks/scale.py plan [ROWS]
    python benchmarks/scale.py memory
    python benchmarks/scale.py resume [SHARDS...]
    python benchmarks/scale.py speed [PICTURES]
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
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.pictures.images import Picture, open_picture
from pixelsleuth.scale import parts, sources
from pixelsleuth.scale.duplicates import TOLERANCE
from pixelsleuth.scale.hashing import phash
from pixelsleuth.scale.listing import pieces
from pixelsleuth.scale.pipeline import JudgeSettings, Pipeline, usual_workers
from pixelsleuth.scale.plan import Plan, PlanSettings, write_plan
from pixelsleuth.scale.scanning import ScanOptions, run_scan

PICTURES = 100
"""Different pictures of the measurement of memory; the list names them again and again."""
SHARD = 500


class Stub(Detector):
    """Judges at once, so that all time is that of the scan."""

    name = "stub"

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        del explain
        even = {Label.REAL: 0.5, Label.FULL_SYNTHETIC: 0.25, Label.TAMPERED: 0.25}
        return [Verdict.of(picture, even, model=self.model) for picture in pictures]


def stub(device: str = "cpu") -> Detector:
    """The factory of the stub."""
    del device
    return Stub()


def peak() -> float:
    """Peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Wall and processor seconds of `work`, and the peak memory after it, in MB."""

    def processor() -> float:
        used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in used)

    wall, cpu = time.perf_counter(), processor()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": processor() - cpu, "peak": peak()}


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


def picture(folder: Path, number: int, side: int) -> str:
    """The path of a JPEG of blurred noise."""
    draw = np.random.default_rng(number)
    small = draw.integers(0, 256, (side // 8, side // 8, 3)).astype(np.uint8)
    path = folder / f"p{number:05d}.jpg"
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return str(path)


def memory(inputs: int, folder: Path) -> dict[str, float]:
    """Scan a list of `inputs` lines with the stub."""
    paths = [picture(folder, number, 64) for number in range(PICTURES)]
    source = folder / "list.txt"
    source.write_text("".join(f"{paths[n % PICTURES]}\n" for n in range(inputs)))
    options = ScanOptions(
        str(folder / "out"), model="scale:stub", evidence=False, quiet=True, shard_size=SHARD
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


def speed(pictures: int, folder: Path) -> dict[str, float]:
    """The bundled detector alone on decoded pictures, and in a scan of the same files, in turns."""
    from pixelsleuth.models.registry import load

    paths = [picture(folder, number, 512) for number in range(pictures)]
    detector = load("compact")
    detector.decide_as(None, None, False)
    decoded = [open_picture(path) for path in paths]
    next(detector.check_many(decoded[:1]))
    out = folder / "plan"
    out.mkdir()
    made = write_plan(out, sources.inputs(str(folder)), settings(str(folder)), lambda _: None)
    entries = [entry for shard in range(made.shards) for entry in made.entries(shard)]
    times: dict[str, list[float]] = {"alone": [], "scan": [], "examined": []}
    for _ in range(3):
        detector.examiner = None
        times["alone"].append(timed(lambda: list(detector.check_many(decoded)))["wall"])
        for name in ("scan", "examined"):
            judge = JudgeSettings(workers=usual_workers(), evidence=name == "examined")
            with Pipeline(detector, judge) as pipeline:
                list(pipeline.judge(entries[: usual_workers()]))  # the processes have started
                started = time.perf_counter()
                list(pipeline.judge(entries))
                times[name].append(time.perf_counter() - started)
    return {name: pictures / min(walls) for name, walls in times.items()} | {"peak": peak()}


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


def alone(*call: object) -> dict[str, float]:
    """The figures of a measurement in a process and a folder of its own."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--measure", folder, *map(str, call)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def tables(what: str, numbers: list[int]) -> Iterator[str]:
    """The lines of the table of one measurement."""
    if what == "plan":
        yield "| a plan of | inputs | seconds | of the processor | peak MB |\n|---|---:|---:|---:|---:|"
        for kind in ("list", "manifest"):
            rows = (numbers or [10_000_000])[0]
            got = alone("plan", kind, rows)
            yield f"| a {kind} | {rows:,} | {got['wall']:.0f} | {got['cpu']:.0f} | {got['peak']:.0f} |"
    elif what == "memory":
        yield "| inputs | peak MB | pictures/s | processor ms each | bytes a row |\n|---:|---:|---:|---:|---:|"
        for inputs in numbers or [1_000, 10_000, 100_000]:
            got = alone("memory", inputs)
            each = got["cpu"] * 1000 / inputs
            yield f"| {inputs:,} | {got['peak']:.0f} | {got['rate']:.0f} | {each:.2f} | {got['bytes']:.0f} |"
    elif what == "resume":
        yield "| shards | seconds | of the processor | microseconds a shard | peak MB |\n|---:|---:|---:|---:|---:|"
        for shards in numbers or [10_000, 100_000]:
            got = alone("resume", shards)
            each = got["cpu"] * 1e6 / shards
            yield f"| {shards:,} | {got['wall']:.2f} | {got['cpu']:.2f} | {each:.0f} | {got['peak']:.0f} |"
    else:
        got = alone("speed", (numbers or [60])[0])
        yield "| | pictures/s | of the model's own |\n|---|---:|---:|"
        names = {
            "alone": "the model alone, pictures decoded before",
            "scan": "scan",
            "examined": "scan with evidence",
        }
        for name, spoken in names.items():
            yield f"| {spoken} | {got[name]:.2f} | {got[name] / got['alone']:.0%} |"


def main(arguments: list[str]) -> None:
    """Run one measurement and print its table."""
    if arguments[:1] == ["--measure"]:
        folder, what, *rest = arguments[1:]
        measure = {"plan": plan, "memory": memory, "resume": resume, "speed": speed}[what]
        values = [int(value) if value.isdigit() else value for value in rest]
        print(json.dumps(measure(*values, Path(folder))))  # type: ignore[operator]
        return
    if arguments[:1] == ["phash"] and len(arguments) > 1:
        for line in hashes(arguments[1], int(arguments[2]) if len(arguments) > 2 else 300):
            print(line)
        return
    if not arguments or arguments[0] not in ("plan", "memory", "resume", "speed"):
        raise SystemExit(__doc__)
    for line in tables(arguments[0], [int(number) for number in arguments[1:]]):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
