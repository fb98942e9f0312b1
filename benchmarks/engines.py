"""`evaluate` and `forge` with Ray against one process: processor time of everything that each run starts, in turns.

Both engines do the same work on the same pictures, one after the other, `--rounds` times. The processor time counts the
command, Ray's own processes and the actors, so it says what Ray costs also where other work keeps the machine busy.
The files of both must be the same (times of judging left out).

Run: `python benchmarks/engines.py [--count 40] [--rounds 3] [evaluate] [forge]`
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux: processes that lost their parent become ours, and their time is counted."""
PASSING = {"elapsed_ms": None}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", nargs="*", default=["evaluate", "forge"])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    same = True
    for name in options.commands:
        with tempfile.TemporaryDirectory() as folder:
            same &= compare(name, Path(folder), options.count, options.rounds)
    return 0 if same else 1


def compare(name: str, folder: Path, count: int, rounds: int) -> bool:
    """Measure one command with both engines, print a line each, and return whether their files are the same."""
    words = prepared(name, folder, count)
    times: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
    digests: dict[str, set[str]] = {"local": set(), "ray": set()}
    for number in range(rounds):
        for engine, measured in times.items():
            out = folder / f"{engine}-{number}"
            place = [f"out={out}"] if name == "forge" else ["--out", str(out)]
            measured.append(timed([*words, *place, "--engine", engine]))
            digests[engine].add(digest(out))
    ratios = [ray[0] / local[0] for local, ray in zip(times["local"], times["ray"], strict=True)]
    for engine, measured in times.items():
        processor, wall = (statistics.median(column) for column in zip(*measured, strict=True))
        print(
            f"{name} of {count} pictures, {engine}: {processor:.1f} s of the processor, {wall:.1f} s (median)"
        )
    print(f"{name}: Ray takes {statistics.median(ratios):.2f} times the processor ({min(ratios):.2f} to "
          f"{max(ratios):.2f}), {extra(times):.1f} s more")  # fmt: skip
    same = len(digests["local"] | digests["ray"]) == 1
    print(f"{name}: the files are {'the same' if same else 'NOT the same'}", flush=True)
    return same


def extra(times: dict[str, list[tuple[float, float]]]) -> float:
    """The median of the seconds of the processor by which Ray takes more."""
    pairs = zip(times["local"], times["ray"], strict=True)
    return statistics.median(ray[0] - local[0] for local, ray in pairs)


def prepared(name: str, folder: Path, count: int) -> list[str]:
    """The words of the command, on pictures that are drawn: structure, grain, three labels in turn."""
    random, pictures = np.random.default_rng(0), folder / "pictures"
    pictures.mkdir()
    rows = []
    for number in range(count):
        small = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        large = Image.fromarray(small).resize((640, 480)).filter(ImageFilter.GaussianBlur(2))
        grain = np.asarray(large) + random.normal(0, 4, (480, 640, 3))
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(pictures / f"{number:05d}.jpg", quality=92)
        rows.append([f"{number:05d}.jpg", ("real", "full_synthetic", "tampered")[number % 3]])
    with (pictures / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "label"], *rows])
    if name == "forge":
        recipe = ROOT / "recipes" / "forge" / "local.yaml"
        return ["forge", str(recipe), f"photographs={pictures}", "--quiet"]
    return [
        "evaluate",
        "--data",
        str(pictures / "manifest.csv"),
        "--no-audit",
        "--resamples",
        "20",
        "--quiet",
    ]


def timed(words: Sequence[str]) -> tuple[float, float]:
    """(processor, wall) seconds of a command with everything that it starts."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    before, started = used(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pixelsleuth", *words], env=environment, capture_output=True, text=True
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    wall = time.perf_counter() - started
    while True:  # what outlived the command
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return used() - before, wall


def used() -> float:
    """Seconds of the processor of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def digest(out: Path) -> str:
    """One number over the files of a run."""
    total = hashlib.sha256()
    for file in sorted(out.rglob("*")):
        if file.is_file() and file.suffix != ".html":
            data = file.read_bytes()
            if file.name == "predictions.jsonl":
                data = "".join(json.dumps(json.loads(line) | PASSING) for line in data.splitlines()).encode()
            total.update(str(file.relative_to(out)).encode() + data)
    return total.hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
