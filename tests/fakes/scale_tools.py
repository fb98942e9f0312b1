"""Small pictures, a stub detector, and `scan` in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

FAKES = Path(__file__).parent
STUB = "scale_stub:quick"
PASSING = ("elapsed_ms", "judged_at")
"""Columns that differ between two runs."""


def write_pictures(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write `count` small PNG and JPEG pictures, half of them in folders below."""
    draw = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        place = folder / f"{number % 3}" if number % 2 else folder
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"p{number:03d}.{'png' if number % 3 else 'jpg'}"
        pixels = draw.integers(0, 256, (24, 32, 3)).astype("uint8")
        pixels[4:12, 6:20] //= 2
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Every row of the parts of a scan by its number, without what differs between two runs."""
    rows = [
        row
        for part in sorted((out / "parts").rglob("part-*.parquet"))
        for row in pq.read_table(part).to_pylist()
    ]
    return sorted(
        ({key: value for key, value in row.items() if key not in PASSING} for row in rows),
        key=lambda row: row["id"],
    )


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`scan(source, out, **options)`: the exit status of a run in this process."""
    from pixelsleuth.scale.scanning import ScanOptions, run_scan

    monkeypatch.syspath_prepend(str(FAKES))

    def run(source: object, out: Path, **options: Any) -> int:
        usual = {"model": STUB, "workers": 1, "evidence": False, "quiet": True, "shard_size": 4}
        return run_scan(str(source), ScanOptions(out=str(out), **(usual | options)))

    return run


def start(source: Path, out: Path, *options: str, seconds: float = 0.0) -> subprocess.Popen[bytes]:
    """`pixelsleuth scan` with the stub in a process of its own."""
    paths = [str(FAKES), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "STUB_SECONDS": str(seconds)}
    command = [sys.executable, "-m", "pixelsleuth", "scan", str(source), "--out", str(out), "--model", STUB]
    return subprocess.Popen(
        [*command, "--workers", "1", "--no-evidence", "--shard-size", "4", *options],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
