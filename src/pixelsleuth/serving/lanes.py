"""Micro-batching: one queue and one worker thread a model.

A batch closes at `batch_size` pictures, after `WINDOW`, or at once where no other picture is on its way. What a client
has left, or what waited beyond its deadline, is skipped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pixelsleuth.errors import ServiceBusy, ServiceUnavailable

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.pictures.images import Picture

WINDOW = 0.008
"""Seconds for which an incomplete batch waits for pictures that are being decoded."""
FOREGROUND_TURNS = 4
"""Of so many batches that both kinds could fill, the last takes pictures of jobs first: jobs never starve."""
LATEST_SHARE = 0.2
"""What the latest batch counts in the mean of the seconds that a picture takes."""
MARGIN = 0.5
"""Of its deadline, what a picture may be expected to wait: the next pictures may be larger, the machine busier."""
log = logging.getLogger("pixelsleuth")


@dataclass(eq=False)
class Entry:
    """One picture in the queue of a model; `deadline` in monotonic seconds, `opened_ms` what decoding it took."""

    picture: Picture
    explain: bool
    deadline: float
    opened_ms: float = 0.0
    background: bool = False
    future: Future[Verdict] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Lane:
    """The queue of one detector. `watch(batch, waits)` is called with the size of each batch and its entries' waits."""

    def __init__(
        self,
        detector: Detector,
        *,
        batch_size: int,
        watch: Callable[[int, list[float]], None] = lambda batch, waits: None,
    ) -> None:
        self.detector, self.watch = detector, watch
        self.batch_size = batch_size if detector.batches else min(batch_size, detector.beside)
        self._entries: deque[Entry] = deque()
        self._background: deque[Entry] = deque()
        self._coming = 0
        self._turn = 0
        self._closed = False
        self.ahead = 0
        self.pace = 0.0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"judge {detector.name}", daemon=True)
        self._thread.start()

    @contextmanager
    def counting(self, background: bool) -> Iterator[None]:
        """While the block runs, a picture is ahead of those that come later; one of a job is not. Event loop only."""
        self.ahead += not background
        try:
            yield
        finally:
            self.ahead -= not background

    @property
    def expected_wait(self) -> float:
        """Seconds that a picture which comes now is likely to wait; 0 where nothing is ahead of it."""
        return self.ahead * self.pace

    def ensure_time(self, deadline: float) -> None:
        """Raise ServiceBusy where a picture that comes now would probably miss its `deadline` (seconds)."""
        if self.expected_wait > MARGIN * deadline:
            raise ServiceBusy(
                f"{self.ahead} pictures are ahead, for about {self.expected_wait:.0f} seconds; try again later."
            )

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While the block runs, a picture for this queue is on its way: an incomplete batch waits for it a little."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def submit(self, entry: Entry) -> Future[Verdict]:
        """Put a picture into the queue. Cancel the future where nobody waits for it any more."""
        with self._changed:
            if self._closed:
                entry.future.set_exception(ServiceUnavailable("The service is stopping; try again later."))
            else:
                (self._background if entry.background else self._entries).append(entry)
                self._changed.notify_all()
        return entry.future

    @property
    def depth(self) -> int:
        """Pictures that wait to be judged."""
        return len(self._entries) + len(self._background)

    def close(self) -> None:
        """Refuse what waits and end the thread after its batch."""
        with self._changed:
            self._closed = True
            left = [*self._entries, *self._background]
            self._entries.clear()
            self._background.clear()
            self._changed.notify_all()
        for entry in left:
            _refuse(entry, "The service is stopping; try again later.")

    def _work(self) -> None:
        while batch := self._gather():
            self.watch(len(batch), [time.monotonic() - entry.since for entry in batch])
            for explain in (True, False):
                self._judge([entry for entry in batch if entry.explain is explain], explain)

    def _gather(self) -> list[Entry]:
        """The next batch; empty where the queue is closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self.depth)
                self._changed.wait_for(
                    lambda: self._closed or self.depth >= self.batch_size or not self._coming, WINDOW
                )
                if self._closed:
                    return []
                batch = self._take()
            if batch:
                return batch

    def _take(self) -> list[Entry]:
        self._turn += 1
        queues = [self._entries, self._background]
        if self._turn % FOREGROUND_TURNS == 0:
            queues.reverse()
        batch: list[Entry] = []
        for entries in queues:
            while entries and len(batch) < self.batch_size and not self._apart(batch[-1:], entries[0]):
                entry = entries.popleft()
                if time.monotonic() > entry.deadline:
                    _refuse(entry, "The service did not get to this picture in time; try again later.")
                elif entry.future.set_running_or_notify_cancel():
                    batch.append(entry)
        return batch

    def _apart(self, last: list[Entry], following: Entry) -> bool:
        """Whether an entry is left for the next batch: of two that are not judged together none waits."""
        return any(self.detector.alone(entry.picture) for entry in (*last, following)) if last else False

    def _judge(self, entries: list[Entry], explain: bool) -> None:
        """Judge entries together, as `check` does: a batch that fails is tried again picture by picture."""
        if not entries:
            return
        waiting, started = deque(entries), time.monotonic()
        try:
            pictures = [entry.picture for entry in entries]
            for verdict in self.detector.check_many(pictures, explain=explain, batch_size=len(entries)):
                entry = waiting.popleft()
                verdict.elapsed_ms += entry.opened_ms
                with suppress(InvalidStateError):
                    entry.future.set_result(verdict)
        except BaseException as error:  # the thread must go on whatever a detector does
            log.exception("judging failed")
            for entry in waiting:
                with suppress(InvalidStateError):
                    entry.future.set_exception(error)
        each = (time.monotonic() - started) / len(entries)
        self.pace = each if not self.pace else self.pace + LATEST_SHARE * (each - self.pace)


def _refuse(entry: Entry, sentence: str) -> None:
    with suppress(InvalidStateError):
        if entry.future.running() or entry.future.set_running_or_notify_cancel():
            entry.future.set_exception(ServiceUnavailable(sentence))
