"""Reading, decoding and judging side by side: threads read, processes decode, the calling thread judges.

Verdicts come in the order in which pictures get ready, so that one slow picture holds up no other. What is under way is
bounded three ways: a number of inputs, bytes of files, bytes of pixels.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import queue
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.decoding.examined import SentExaminer
from pixelsleuth.decoding.pool import Budget, DecoderPool, Opened, Upload
from pixelsleuth.errors import DecoderFailed, InternalError, JudgeEnded, PixelSleuthError
from pixelsleuth.scale.listing import Entry, path_of
from pixelsleuth.scale.reading import read

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.scale.journal import Journal

TRIES = 2
"""How often a picture is decoded that ends its decoding process, before it becomes an error."""
DECODE_SECONDS = 60.0
"""Seconds that a picture may take to decode."""
FILE_BYTES = 512 << 20
"""Bytes of files in memory at a time; a single larger one is let in alone."""
AHEAD = 8
"""Inputs under way for each decoding process, beside a batch that is judged and one that is ready."""
READERS = 4
"""Reading threads for each decoding process: those of a remote store mostly wait."""
log = logging.getLogger("pixelsleuth")


def usual_workers() -> int:
    """Decoding processes where the user names no number: one a core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class JudgeSettings:
    """How inputs are read and judged. Relative paths are those of the folder `base`; without `batch_size` the detector
    gets as many as it works at beside each other; `seconds` is the time that it may take for a picture, where its
    process can be replaced.
    """

    base: str = ""
    workers: int = 1
    batch_size: int | None = None
    explain: bool = True
    evidence: bool = True
    max_megapixels: float = 100.0
    trust_list: str | None = None
    heat_maps: bool = False
    seconds: float = 1800.0


@dataclass(eq=False)
class _Underway:
    """An input between the plan and its verdict."""

    entry: Entry
    data: bytes | bytearray | None = None
    held: int = 0
    tries: int = 0
    opened: Opened | None = None
    started: float = field(default_factory=time.perf_counter)


class Pipeline:
    """Judges streams of inputs with one detector. Close it, or use it as a context, to end its processes.

    With a `journal` a picture at which judges died is judged alone, or becomes an error.
    """

    def __init__(self, detector: Detector, settings: JudgeSettings, journal: Journal | None = None) -> None:
        self.detector, self.settings, self.journal = detector, settings, journal
        detector.examiner = SentExaminer() if settings.evidence else None
        self.pool = DecoderPool(
            settings.workers,
            seconds=DECODE_SECONDS,
            max_megapixels=settings.max_megapixels,
            trust_lists=settings.trust_list,
        )
        self._readers = ThreadPoolExecutor(READERS * settings.workers, thread_name_prefix="read")
        self._files = Budget(FILE_BYTES)
        self._ready: queue.SimpleQueue[_Underway] = queue.SimpleQueue()
        self._batch_size = settings.batch_size or detector.beside
        self._window = AHEAD * settings.workers + 2 * self._batch_size

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes at once; what is under way is dropped."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._files.lift()
        self.pool.close()

    def judge(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Verdict]]:
        """Yield each input with its verdict, in the order in which they get ready.

        A picture that cannot be read, and one that ends its decoding process twice, gives a verdict with `error`.
        `entries` is read at most a few dozen inputs ahead.
        """
        waiting = iter(entries)
        underway = 0
        more = True
        while True:
            while more and underway < self._window:
                entry = next(waiting, None)
                if entry is None:
                    more = False
                    break
                if self.journal is not None and self.journal.condemned(entry.id):
                    self._failed(_Underway(entry), _judge_ended(entry))
                else:
                    self._readers.submit(self._read, _Underway(entry))
                underway += 1
            if not underway:
                return
            batch = self._batch()
            underway -= len(batch)
            yield from self._judged(batch)

    def _batch(self) -> list[_Underway]:
        """What is ready, at least one input and at most a batch."""
        batch = [self._ready.get()]
        while len(batch) < self._batch_size:
            try:
                batch.append(self._ready.get_nowait())
            except queue.Empty:
                break
        return batch

    def _read(self, underway: _Underway) -> None:
        """In a reading thread: the bytes of an input, then to a decoding process."""
        try:
            size = underway.entry.size or 0
            self._files.take(size, math.inf)
            underway.held = size
            underway.data = read(underway.entry, self.settings.base)
            self._decode(underway)
        except BaseException as error:  # every input becomes a row, whatever happens to it
            self._failed(underway, error)

    def _decode(self, underway: _Underway) -> None:
        assert underway.data is not None
        underway.tries += 1
        upload = Upload(bytes(underway.data), path_of(underway.entry.location), self.settings.evidence)
        self.pool.decode(upload, math.inf).add_done_callback(functools.partial(self._decoded, underway))

    def _decoded(self, underway: _Underway, decoding: Future[Opened]) -> None:
        """In a thread of the pool: hand the picture on, or try again where it ended its process."""
        try:
            opened = decoding.result()
            if isinstance(opened.error, DecoderFailed) and underway.tries < TRIES:
                self._decode(underway)
                return
        except CancelledError:
            return  # the pool was closed
        except BaseException as error:
            self._failed(underway, error)
            return
        self._release(underway)
        underway.opened = opened
        # Examined pixels come a little later; the judge shall not wait for them.
        if opened.picture is not None and opened.picture.shown is not None:
            opened.picture.shown.add_done_callback(lambda _: self._ready.put(underway))
        else:
            self._ready.put(underway)

    def _release(self, underway: _Underway) -> None:
        underway.data = None
        if underway.held:
            self._files.give(underway.held)
            underway.held = 0

    def _failed(self, underway: _Underway, error: BaseException) -> None:
        self._release(underway)
        if not isinstance(error, PixelSleuthError):
            log.error("reading %s failed", path_of(underway.entry.location), exc_info=error)
            error = InternalError(
                f"The detector failed on this picture ({type(error).__name__}: {error}); please report it."
            )
        spent = (time.perf_counter() - underway.started) * 1000
        underway.opened = Opened(None, error, spent)
        self._ready.put(underway)

    def _judged(self, batch: list[_Underway]) -> Iterator[tuple[Entry, Verdict]]:
        pictures = [picture for one in batch if (picture := _opened(one).picture) is not None]
        try:
            for group in self._groups(batch):
                for underway, verdict in zip(group, self._verdicts(group), strict=True):
                    verdict.elapsed_ms += _opened(underway).milliseconds
                    yield underway.entry, verdict
        finally:
            self.pool.budget.give(sum(picture.pixels.nbytes for picture in pictures))

    def _groups(self, batch: list[_Underway]) -> list[list[_Underway]]:
        """What goes to the detector together: a batch, or as many as it gains from; a suspect is alone."""
        suspects = [one for one in batch if self.journal is not None and self.journal.suspect(one.entry.id)]
        others = [one for one in batch if one not in suspects]
        most = len(batch) if self.detector.batches else self.detector.beside
        groups = [others[start : start + most] for start in range(0, len(others), most)]
        return groups + [[one] for one in suspects]

    def _verdicts(self, group: list[_Underway]) -> list[Verdict]:
        """The verdicts of inputs that are judged together, errors among them."""
        pictures = {one: picture for one in group if (picture := _opened(one).picture) is not None}
        numbers = [one.entry.id for one in pictures]
        journal = self.journal.judging(numbers) if self.journal and numbers else contextlib.nullcontext()
        with journal:
            # The pictures of a batch fail one by one in `check_many`, never together.
            judged = list(
                self.detector.check_many(
                    pictures.values(), explain=self.settings.explain, batch_size=max(1, len(pictures))
                )
            )
        for verdict in judged:
            verdict.forget_picture()
            if not self.settings.heat_maps:
                verdict.heatmap = None
        verdicts = iter(judged)
        return [next(verdicts) if one in pictures else self._error(one) for one in group]

    def _error(self, underway: _Underway) -> Verdict:
        error = _opened(underway).error
        assert error is not None
        return Verdict.failed(path_of(underway.entry.location), error, self.detector.model)


def _judge_ended(entry: Entry) -> JudgeEnded:
    return JudgeEnded(
        f"{path_of(entry.location)} was not judged: the process of the detector ended twice at it (a crash, too little "
        "memory, or too much time); check it alone to see why."
    )


def _opened(underway: _Underway) -> Opened:
    assert underway.opened is not None
    return underway.opened
