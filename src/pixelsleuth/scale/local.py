"""The local engine: this machine's processes judge the shards that are missing, one part after another."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.streams import undisturbed
from pixelsleuth.reporting import words
from pixelsleuth.scale.journal import Journal
from pixelsleuth.scale.parts import write_part
from pixelsleuth.scale.pipeline import JudgeSettings, Pipeline
from pixelsleuth.scale.shards import judge_shards
from pixelsleuth.scale.supervisor import FAILED, JUDGED, Run

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.progress import Bar
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.scale.listing import Entry
    from pixelsleuth.scale.plan import Plan

REFRESH = 0.5
"""Seconds between two changes of the words behind the progress bar."""


class Tally:
    """What a process has judged so far, and the words for it: pictures a second, states, errors, duplicates.

    It tells the supervisor of its `run` of the first verdict and of the first error.
    """

    def __init__(self, bar: Bar, run: Run) -> None:
        self._run: Run = run
        self._told: set[bytes] = set()
        self.states: Counter[str] = Counter()
        self.duplicates = 0
        self._bar, self._started, self._noted = bar, time.monotonic(), 0.0

    def __call__(self, entry: Entry, verdict: Verdict | None) -> None:
        del entry
        self.add(Counter() if verdict is None else Counter([words.state_of(verdict)]), int(verdict is None))

    def add(self, states: Counter[str], duplicates: int) -> None:
        """Count inputs by their state, and duplicates."""
        failed = states["failed"]
        for what, count in ((FAILED, failed), (JUDGED, states.total() - failed)):
            if count and what not in self._told:
                self._told.add(what)
                self._run.tell(what)
        self.states += states
        self.duplicates += duplicates
        self._bar(states.total() + duplicates)
        now = time.monotonic()
        if self._bar.live and now - self._noted >= REFRESH:
            self._noted = now
            self._bar.note(f"{self.rate:.1f} pictures/s; {self.spoken()}")

    @property
    def rate(self) -> float:
        """Pictures a second since the run began."""
        return self.states.total() / max(1e-9, time.monotonic() - self._started)

    def spoken(self) -> str:
        """The counts in one line."""
        counts = words.tally(self.states)
        return counts + (f", {words.count(self.duplicates, 'duplicate')}" if self.duplicates else "")


def run_local(
    plan: Plan,
    todo: Sequence[int],
    out: Path,
    detector: Detector,
    settings: JudgeSettings,
    tally: Tally,
    run: Run,
) -> None:
    """Judge the shards `todo` and write their parts. Raises OutputError where a part cannot be written.

    An interruption loses the shards under way; the parts that stand are whole. Where a supervisor replaces this
    process, it ends by itself when a picture takes the detector longer than `settings.seconds`.
    """
    journal = Journal(out, plan.settings.shard_size, run.name, settings.seconds if run.replaceable else None)

    def shards() -> Iterator[tuple[int, list[Entry]]]:
        for shard in todo:
            journal.begin(shard)
            yield shard, plan.entries(shard)

    with contextlib.closing(journal), Pipeline(detector, settings, journal) as pipeline:
        for shard, rows in judge_shards(shards(), pipeline, tally):
            with undisturbed():
                write_part(out, shard, rows, detector.model)
                journal.settle(shard)
