"""How fast are the readers, and does their memory stay flat: samples a second of each against a bare Pillow loop.

    python benchmarks/data.py                              # every reader, 10,000 generated pictures each
    python benchmarks/data.py --pictures 1000 --readers sid_set manifest
    python benchmarks/data.py --json data.json

Every layout is written from a pool of generated JPEG pictures (512 x 512, quality 90) and PNG masks, by hard links, so
that nothing is downloaded and disk matters little. The bare loop decodes the very same pictures and masks with
`Image.open(...).convert(...)` and numpy, one after the other, knowing beforehand where they are. A reader finds,
labels, checks, decodes (`Sample.load`) and hashes them. Both run in this process, turn by turn; the ratio is of
processor time (threads included), which other work on the machine disturbs least. Memory is the process's resident
set after a tenth and at the end of a reader's run. Goal: 80 % of the bare loop, memory flat.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from layouts import FOLDERS, SHARDS, Pair, Pool, write
from pixelsleuth.data.readers import open_data

GOAL = 0.8
MEGABYTE = 1e6


@dataclass(frozen=True)
class Row:
    """One reader: pictures read, samples a second (wall clock), the bare loop's, the ratio of processor times, and
    growth of the resident set over the last nine tenths of the run in MB.
    """

    reader: str
    pictures: int
    per_second: float
    bare_per_second: float
    ratio: float
    growth_mb: float


def make_pool(folder: Path, size: int, distinct: int = 32) -> Pool:
    """Smooth noise with grain: as large as photographs of this size when compressed."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    pictures = []
    for number in range(distinct):
        coarse = Image.fromarray(random.integers(0, 255, (size // 16, size // 16, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) + random.normal(
            0, 6, (size, size, 1)
        )
        pictures.append(folder / f"{number}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(pictures[-1], quality=90)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : size // 2, size // 4 : size // 2] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    hole = np.dstack([np.full((size, size, 3), 128, np.uint8), 255 - mask])
    Image.fromarray(hole).save(folder / "hole.png")
    return Pool(pictures, folder / "mask.png", folder / "hole.png")


def bare(pairs: list[Pair]) -> None:
    """What a loop without any reader does: decode picture and mask."""
    for picture, mask in pairs:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
            np.asarray(image.convert("RGB"))
        if mask is not None:
            with Image.open(io.BytesIO(mask) if isinstance(mask, bytes) else mask) as image:
                _ = np.asarray(image.convert("L")) > 127


def read(name: str, root: Path, pictures: int) -> tuple[int, float]:
    """Read a whole set; (samples, growth of the resident set in MB after the first tenth)."""
    process = psutil.Process()
    settings: dict[str, Any] = {"marks": "white"} if name == "autosplice" else {}
    spec = root / "manifest.csv" if name == "manifest" else root
    count, early = 0, 0
    for sample in open_data(spec, reader=name, **settings):
        sample.load()
        count += 1
        if count == max(1, pictures // 10):
            early = process.memory_info().rss
    return count, (process.memory_info().rss - early) / MEGABYTE


def measure(name: str, pool: Pool, root: Path, pictures: int, repeats: int) -> Row:
    """Bare loop and reader by turns, the best of each."""
    pairs = write(name, pool, root, pictures)
    best = {"bare": (np.inf, np.inf), "reader": (np.inf, np.inf)}
    count, growth = 0, 0.0
    for _ in range(repeats):
        for what in best:
            gc.collect()
            wall, used = time.perf_counter(), time.process_time()
            if what == "bare":
                bare(pairs)
            else:
                count, growth = read(name, root, pictures)
            took = (time.perf_counter() - wall, time.process_time() - used)
            best[what] = min(best[what][0], took[0]), min(best[what][1], took[1])
    if count != len(pairs):
        raise SystemExit(
            f"{name}: {count} samples of {len(pairs)} pictures; the layout or the reader is wrong."
        )
    ratio = best["bare"][1] / best["reader"][1]
    return Row(name, count, count / best["reader"][0], len(pairs) / best["bare"][0], ratio, growth)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--readers", nargs="+", default=[*FOLDERS, *SHARDS], choices=[*FOLDERS, *SHARDS])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(
        f"{platform.machine()}, Python {platform.python_version()}, {options.pictures} pictures of {options.size} px\n"
    )
    print("| reader | pictures | samples/s | bare Pillow/s | of bare (CPU time) | memory growth, MB |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        pool = make_pool(Path(folder) / "pool", options.size)
        for name in options.readers:
            row = measure(name, pool, Path(folder) / name, options.pictures, options.repeats)
            rows.append(row)
            print(f"| {row.reader} | {row.pictures} | {row.per_second:.0f} | {row.bare_per_second:.0f} "
                  f"| {row.ratio:.0%} | {row.growth_mb:+.1f} |", flush=True)  # fmt: skip
    below = [row.reader for row in rows if row.ratio < GOAL]
    print(
        f"\nGoal of {GOAL:.0%}: {'all reach it' if not below else 'missed by ' + ', '.join(below)}",
        file=sys.stderr,
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
