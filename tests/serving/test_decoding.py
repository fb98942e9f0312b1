"""Decoding processes: a bad file costs itself, never the service."""

from __future__ import annotations

import errno
import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.decoding.pool import Budget, Decoder, DecoderPool, Opened, Upload
from pixelsleuth.errors import DecoderFailed, PictureTooLarge, ServiceUnavailable
from pixelsleuth.evidence.inspection import FileExaminer
from pixelsleuth.pictures.images import open_picture


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(1, seconds=20, max_megapixels=100)
    yield pool
    pool.close()


def opened(pool: DecoderPool, data: bytes, *, evidence: bool = False, name: str | None = "a.jpg") -> Opened:
    result = pool.decode(Upload(data, name, evidence), time.monotonic() + 60).result(60)
    if result.picture is not None:
        pool.budget.give(result.picture.pixels.nbytes)
    return result


def test_a_picture_comes_back_as_if_it_was_opened_here(pool: DecoderPool, picture: bytes) -> None:
    expected = open_picture(picture, name="a.jpg", examine=FileExaminer().of_file)
    got = opened(pool, picture, evidence=True).picture
    assert got is not None
    assert (got.pixels == expected.pixels).all()
    for field in ("source", "sha256", "format", "metadata", "warnings"):
        assert getattr(got, field) == getattr(expected, field)
    assert expected.evidence is not None
    assert got.evidence is not None
    assert [entry.to_dict() for entry in got.evidence] == [entry.to_dict() for entry in expected.evidence]
    assert got.shown is not None
    shown = FileExaminer().of_pixels(expected)
    assert [entry.to_dict() for entry in got.shown.result(60)] == [entry.to_dict() for entry in shown]


def test_a_decoder_that_is_killed_costs_its_picture_and_the_pool_goes_on(
    pool: DecoderPool, picture: bytes
) -> None:
    assert opened(pool, picture).picture is not None
    (pid,) = pool.processes()
    os.kill(pid, signal.SIGSTOP)  # so that it is surely busy when it is killed
    decoding = pool.decode(Upload(picture, "a.jpg", evidence=False), time.monotonic() + 60)
    while not decoding.running():
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    error = decoding.result(60).error
    assert isinstance(error, DecoderFailed)
    assert opened(pool, picture).picture is not None
    assert pool.processes() != [pid]


def test_a_decoder_that_died_with_nothing_to_do_costs_no_picture(pool: DecoderPool, picture: bytes) -> None:
    assert opened(pool, picture).picture is not None
    (pid,) = pool.processes()
    os.kill(pid, signal.SIGKILL)
    while ") Z " not in Path(f"/proc/{pid}/stat").read_text():
        time.sleep(0.001)
    assert opened(pool, picture).picture is not None


def test_where_no_process_can_be_started_the_next_picture_tries_again(
    pool: DecoderPool, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Decoder:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    assert opened(pool, picture).picture is not None
    (pid,) = pool.processes()
    os.kill(pid, signal.SIGSTOP)  # so that it is surely busy when it is killed
    decoding = pool.decode(Upload(picture, "a.jpg", evidence=False), time.monotonic() + 60)
    while not decoding.running():
        time.sleep(0.001)
    monkeypatch.setattr(pool, "_new", none)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(decoding.result(60).error, DecoderFailed)
    with pytest.raises(ServiceUnavailable, match="started"):
        opened(pool, picture)
    monkeypatch.undo()
    assert opened(pool, picture).picture is not None


def test_a_decoder_that_is_late_is_replaced(
    pool: DecoderPool, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(pool, picture).picture is not None
    (pid,) = pool.processes()
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(pool, "seconds", 0.05)
    error = opened(pool, picture).error
    assert isinstance(error, DecoderFailed)
    assert "longer than" in str(error)
    monkeypatch.undo()
    assert opened(pool, picture).picture is not None


def test_too_many_pixels_are_refused_from_the_header(pool: DecoderPool) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert isinstance(opened(pool, bomb.getvalue()).error, PictureTooLarge)


def test_memory_of_a_decoder_is_bounded() -> None:
    """A picture whose pixels alone are larger than the memory of the process."""
    encoded = io.BytesIO()
    Image.fromarray(np.zeros((9_000, 9_000, 3), np.uint8)).save(encoded, "PNG", compress_level=1)
    small = DecoderPool(1, seconds=20, max_megapixels=100, memory=640 << 20)
    try:
        error = opened(small, encoded.getvalue()).error
        assert isinstance(error, PictureTooLarge | DecoderFailed)
    finally:
        small.close()


def test_pixels_wait_for_room_and_not_longer_than_their_deadline() -> None:
    budget = Budget(100)
    budget.take(1000, time.monotonic())  # a large one is let in alone
    with pytest.raises(ServiceUnavailable):
        budget.take(1, time.monotonic() + 0.01)
    budget.give(1000)
    budget.take(60, time.monotonic())
    budget.take(40, time.monotonic())
