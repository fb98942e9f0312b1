"""The forge on this machine: pictures a second of the local recipe, and what ten kills at random moments do to it.

Photographs come from a folder (`--photographs`), or are drawn. First a run that nothing disturbs is timed; then a
second run is killed with SIGKILL ten times, each time after a random share of the first run's duration, and finished.
Every file of both data sets must be the same: nothing lost, nothing doubled.

Run: `python benchmarks/forge.py [--photographs DIR] [--count 200] [--workers 2] [--kills 10]`
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = options.photographs or drawn(folder / "photographs", options.count)
        whole, killed = folder / "whole", folder / "killed"
        seconds = timed(command(photographs, whole, options))
        pictures = sum(1 for _ in (whole / "dataset" / "records.jsonl").open())
        print(f"undisturbed: {pictures} pictures in {seconds:.1f} s, {pictures / seconds:.1f} a second, "
              f"{options.workers} workers")  # fmt: skip
        stages = disturb(command(photographs, killed, options), killed, seconds, options)
        print(f"killed {len(stages)} times, at: {', '.join(stages)}")
        first, second = digests(whole / "dataset"), digests(killed / "dataset")
        lost, more = first.keys() - second.keys(), second.keys() - first.keys()
        other = [one for one in first.keys() & second.keys() if first[one] != second[one]]
        names = [json.loads(line)["id"] for line in (killed / "dataset" / "records.jsonl").open()]
        print(f"{len(first)} files; lost {len(lost)}, new {len(more)}, different {len(other)}, "
              f"doubled lines {len(names) - len(set(names))}")  # fmt: skip
        return 1 if lost or more or other or len(names) != len(set(names)) else 0


def command(photographs: Path, out: Path, options: argparse.Namespace) -> list[str]:
    recipe = ROOT / "recipes" / "forge" / "local.yaml"
    return [sys.executable, "-m", "pixelsleuth", "forge", str(recipe), f"photographs={photographs}", f"out={out}",
            f"workers={options.workers}", f"limit={options.count}", "--quiet"]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


def timed(words: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(words, env=environment(), check=True)
    return time.monotonic() - start


def disturb(words: list[str], out: Path, seconds: float, options: argparse.Namespace) -> list[str]:
    """Kill the run until it was killed often enough, then let it finish; where it stood at each kill."""
    moment = random.Random(options.seed)
    stood: list[str] = []
    while len(stood) < options.kills:
        process = subprocess.Popen(words, env=environment())
        try:
            process.wait(moment.uniform(0.3, max(1.0, seconds * 0.4)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        else:
            if process.returncode:
                raise SystemExit(f"the run failed with status {process.returncode}")
            print(f"(done after {len(stood)} kills; the rest begins anew)")
            for file in out.rglob("*.jsonl"):
                file.unlink()
            continue
        journals = sorted(one.name.split(".")[0] for one in out.glob("*.part.jsonl"))
        stood.append(journals[0] if journals else "between stages")
    subprocess.run(words, env=environment(), check=True)
    return stood


def digests(folder: Path) -> dict[str, str]:
    return {
        one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in folder.rglob("*")
        if one.is_file()
    }


def drawn(folder: Path, count: int) -> Path:
    """Pictures with large and small structure, 640 x 480, as JPEG."""
    folder.mkdir()
    for index in range(count):
        noise = np.random.default_rng(index)
        coarse = Image.fromarray(noise.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
            (640, 480), Image.Resampling.BICUBIC
        )
        fine = Image.fromarray(noise.integers(0, 255, (480, 640, 3), dtype=np.uint8)).filter(
            ImageFilter.GaussianBlur(1)
        )
        Image.blend(coarse, fine, 0.15).save(folder / f"{index:05}.jpg", quality=92)
    return folder


if __name__ == "__main__":
    sys.exit(main())
