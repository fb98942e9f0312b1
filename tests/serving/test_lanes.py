"""Micro-batching: what waits together is judged together, what nobody waits for is skipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from pixelsleuth.core.detector import Detector
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import ServiceUnavailable
from pixelsleuth.pictures.images import Picture, open_picture
from pixelsleuth.serving.lanes import Entry, Lane

EVEN = dict.fromkeys(Label, 1 / 3)


class Gated(Detector):
    """Judges when the gate is open, and remembers its batches."""

    name = "gated"

    def __init__(self) -> None:
        self.gate, self.busy = threading.Event(), threading.Event()
        self.batches_seen: list[list[str]] = []

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        self.busy.set()
        assert self.gate.wait(20)
        self.batches_seen.append([picture.source for picture in pictures])
        if any(picture.source == "bad" for picture in pictures):
            raise RuntimeError("bad")
        return [Verdict.of(picture, EVEN, model=self.model) for picture in pictures]


@pytest.fixture
def detector() -> Gated:
    return Gated()


@pytest.fixture
def lane(detector: Gated) -> Iterator[Lane]:
    lane = Lane(detector, batch_size=3)
    yield lane
    detector.gate.set()
    lane.close()


def entry(name: str, *, left: float = 60, background: bool = False) -> Entry:
    picture = open_picture(np.zeros((32, 32, 3), np.uint8), name=name)
    return Entry(picture, True, time.monotonic() + left, 5.0, background)


def hold(lane: Lane, detector: Gated) -> Entry:
    """An entry that the thread is busy with."""
    first = entry("first")
    lane.submit(first)
    assert detector.busy.wait(20)
    return first


def test_what_waits_is_judged_together_up_to_the_batch_size(lane: Lane, detector: Gated) -> None:
    hold(lane, detector)
    futures = [lane.submit(entry(str(number))) for number in range(4)]
    detector.gate.set()
    verdicts = [future.result(20) for future in futures]
    assert [verdict.source for verdict in verdicts] == ["0", "1", "2", "3"]
    assert detector.batches_seen == [["first"], ["0", "1", "2"], ["3"]]
    assert all(verdict.elapsed_ms >= 5 for verdict in verdicts)


def test_a_model_that_gains_nothing_from_batches_gets_what_it_works_at_beside_each_other(
    detector: Gated,
) -> None:
    detector.batches, detector.beside = False, 2
    lane = Lane(detector, batch_size=8)
    hold(lane, detector)
    futures = [lane.submit(entry(str(number))) for number in range(3)]
    detector.gate.set()
    assert [future.result(20).source for future in futures] == ["0", "1", "2"]
    lane.close()
    assert detector.batches_seen == [["first"], ["0", "1"], ["2"]]


def test_a_large_picture_is_judged_by_itself_where_batches_gain_nothing(
    detector: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "alone", lambda picture: picture.source == "large")
    detector.batches, detector.beside = False, 4
    lane = Lane(detector, batch_size=8)
    hold(lane, detector)
    futures = [lane.submit(entry(name)) for name in ("0", "1", "large", "2", "large")]
    detector.gate.set()
    assert [future.result(20).source for future in futures] == ["0", "1", "large", "2", "large"]
    lane.close()
    assert detector.batches_seen == [["first"], ["0", "1"], ["large"], ["2"], ["large"]]


def test_what_the_client_left_and_what_is_too_late_is_skipped(lane: Lane, detector: Gated) -> None:
    hold(lane, detector)
    left, late, last = entry("left"), entry("late", left=-1), entry("last")
    futures = [lane.submit(waiting) for waiting in (left, late, last)]
    assert futures[0].cancel()
    detector.gate.set()
    assert futures[2].result(20).source == "last"
    with pytest.raises(ServiceUnavailable):
        futures[1].result(20)
    assert detector.batches_seen == [["first"], ["last"]]


def test_a_picture_that_fails_does_not_spoil_its_batch(lane: Lane, detector: Gated) -> None:
    hold(lane, detector)
    futures = [lane.submit(entry(name)) for name in ("a", "bad", "b")]
    detector.gate.set()
    assert [future.result(20).error is None for future in futures] == [True, False, True]


def test_requests_go_before_jobs_and_jobs_do_not_starve(lane: Lane, detector: Gated) -> None:
    hold(lane, detector)
    futures = [lane.submit(entry("job", background=True))]
    futures += [lane.submit(entry(str(number))) for number in range(12)]
    detector.gate.set()
    for future in futures:
        future.result(20)
    turn = next(number for number, batch in enumerate(detector.batches_seen) if "job" in batch)
    assert 1 < turn <= 4


def test_an_incomplete_batch_waits_for_a_picture_that_is_on_its_way(detector: Gated) -> None:
    detector.gate.set()
    lane = Lane(detector, batch_size=2)
    with lane.coming():
        first = lane.submit(entry("a"))
        second = lane.submit(entry("b"))
    assert [first.result(20).source, second.result(20).source] == ["a", "b"]
    lane.close()


def test_a_closed_queue_refuses(lane: Lane, detector: Gated) -> None:
    hold(lane, detector)
    waiting = lane.submit(entry("waiting"))
    lane.close()
    for future in (waiting, lane.submit(entry("later"))):
        with pytest.raises(ServiceUnavailable):
            future.result(20)
