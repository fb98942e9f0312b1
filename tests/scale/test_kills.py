"""A scan that is stopped at any moment, by any signal, ends with the rows of one that was left alone."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scale_tools import rows_of, start, write_pictures

from pixelsleuth.scale.parts import missing
from pixelsleuth.scale.plan import Plan

KILLS = 12
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def parts_in(out: Path) -> int:
    return len(list((out / "parts").rglob("part-*.parquet")))


@pytest.mark.slow
def test_a_scan_killed_at_random_moments_ends_with_the_same_rows(
    tmp_path: Path, scan: Callable[..., int]
) -> None:
    pictures = tmp_path / "pictures"
    write_pictures(pictures, 96)
    assert scan(pictures, tmp_path / "undisturbed") == 0
    out, draw = tmp_path / "out", random.Random(20261129)
    for kill in range(KILLS):
        process = start(pictures, out, "--resume", seconds=0.01)
        before = parts_in(out)
        # From before the plan to a moment after some parts: whole folders of work never depend on the clock.
        wanted = before + draw.choice((0, 0, 1, 2)) if kill else -1
        deadline = time.monotonic() + 60
        while parts_in(out) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.03 if wanted > before else 0.6))
        number = draw.choice(SIGNALS)
        process.send_signal(number)
        process.communicate(timeout=60)
        if (out / "plan.parquet").exists():
            plan = Plan.open(out)
            assert parts_in(out) == plan.shards - len(missing(plan, out))  # no part is ever half there
    process = start(pictures, out, "--resume")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert [row["id"] for row in rows_of(out)] == list(range(96))
    assert rows_of(out) == rows_of(tmp_path / "undisturbed")


def test_a_stopped_scan_says_how_to_go_on(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 40)
    process = start(tmp_path / "pictures", tmp_path / "out", seconds=0.2)
    while not parts_in(tmp_path / "out") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"--resume goes on from there" in errors
    assert not list((tmp_path / "out").rglob(".part-*"))
