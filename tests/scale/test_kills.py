"""A scan of which anything is killed at any moment ends with the rows of one that was left alone."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scale_kills import Scan, assert_same_rows, pause, workers
from scale_tools import start, write_pictures

KILLS = 24
"""Kills of the long test."""
WORKER, JUDGE, COMMAND, EVERYTHING = "a decoding process", "the judge", "the command", "everything at once"
KINDS = (WORKER, JUDGE, COMMAND, EVERYTHING)


def inputs(folder: Path, count: int) -> Path:
    """A list of `count` lines that names few pictures again and again."""
    pictures = write_pictures(folder / "pictures", 24)
    path = folder / "list.txt"
    path.write_text("".join(f"{pictures[number % 24]}\n" for number in range(count)))
    return path


def kill_one(scan: Scan, kind: str, number: int = signal.SIGKILL) -> bool:
    """Kill what `kind` says of a local scan."""
    if kind == WORKER:
        return scan.kill(kind, lambda: workers(scan.tree())[:1], number)
    if kind == JUDGE:  # the child of the supervisor, which has decoding processes itself as soon as it judges
        return scan.kill(kind, lambda: scan.tree()[1:2] if workers(scan.tree()) else [], number)
    if kind == COMMAND:
        return scan.kill(kind, lambda: scan.tree()[:1], number)
    return scan.kill(kind, scan.tree, number)


def kill_at_random(scan: Scan, kinds: list[str], draw: random.Random) -> None:
    for kind in kinds:
        scan.go_on()
        pause(draw, scan)
        signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT) if kind == COMMAND else (signal.SIGKILL,)
        while not kill_one(scan, kind, draw.choice(signals)):
            scan.begin_again()


def test_a_scan_ends_with_the_same_rows_whatever_is_killed_of_it(
    tmp_path: Path, scan: Callable[..., int]
) -> None:
    source = inputs(tmp_path, 120)
    assert scan(source, tmp_path / "undisturbed", shard_size=8) == 0
    killed = Scan(source, tmp_path / "out", seconds=0.02)
    kill_at_random(killed, [WORKER, JUDGE, EVERYTHING], random.Random(1))
    assert killed.finish() == 0, killed.said()
    assert killed.kills.total() == 3
    assert_same_rows(killed, tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_a_scan_killed_many_times_ends_with_the_same_rows(tmp_path: Path, scan: Callable[..., int]) -> None:
    source = inputs(tmp_path, 1600)
    assert scan(source, tmp_path / "undisturbed", shard_size=8) == 0
    draw = random.Random(20261129)
    killed = Scan(source, tmp_path / "out", seconds=0.01)
    kill_at_random(killed, [KINDS[number % 4] for number in range(KILLS)], draw)
    print(dict(killed.kills))
    assert killed.finish() == 0, killed.said()
    assert killed.kills.total() == KILLS
    assert_same_rows(killed, tmp_path / "undisturbed")
    assert "Traceback" not in killed.said()


def test_a_stopped_scan_says_how_to_go_on(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 40)
    process = start(tmp_path / "pictures", tmp_path / "out", seconds=0.2)
    while not list((tmp_path / "out").rglob("part-*.parquet")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"--resume goes on from there" in errors
    assert not list((tmp_path / "out").rglob(".part-*"))
