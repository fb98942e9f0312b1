"""What an actor of the Ray engine does: load the detector once, judge shards, write their parts."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from pixelsleuth.errors import ClusterError, PixelSleuthError
from pixelsleuth.reporting import words
from pixelsleuth.scale.parts import stands, states_of, write_part
from pixelsleuth.scale.pipeline import JudgeSettings, Pipeline
from pixelsleuth.scale.plan import Plan
from pixelsleuth.scale.shards import judge_shards

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.scale.listing import Entry

Said = dict[str, np.ndarray]
"""A row for Ray: the number of a shard, its states with their counts, its duplicates, or the failure that ends all."""


class ShardJudge:
    """Called by Ray with numbers of shards, yields a row a shard whose part it wrote.

    What fails is told in the row's `failure`, since Ray would put its own trace around an exception.
    """

    def __init__(
        self, out: str, cwd: str, load: Callable[[], Detector], model: dict[str, str], settings: JudgeSettings
    ) -> None:
        self.out, self.cwd, self.model, self.settings = out, cwd, model, settings
        self._load = load
        self._ready: tuple[Plan, Pipeline] | None = None

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[Said]:
        shards = [int(shard) for shard in batch["shard"]]
        try:
            yield from self._judge(shards)
        except PixelSleuthError as error:
            yield said(-1, failure=str(error))
        except Exception as error:
            yield said(-1, failure=f"An actor failed ({type(error).__name__}: {error}); please report it.")

    def _judge(self, shards: list[int]) -> Iterator[Said]:
        todo = []
        for shard in shards:
            if stands(self.out, shard):  # this task is tried again after its actor died
                yield said(shard, *states_of(self.out, shard))
            else:
                todo.append(shard)
        if not todo:
            return
        plan, pipeline = self._made()
        states: dict[int, Counter[str]] = {shard: Counter() for shard in todo}
        duplicates: Counter[int] = Counter()

        def count(entry: Entry, verdict: Verdict | None) -> None:
            shard = entry.id // plan.settings.shard_size
            if verdict is None:
                duplicates[shard] += 1
            else:
                states[shard][words.state_of(verdict)] += 1

        for shard, rows in judge_shards(((shard, plan.entries(shard)) for shard in todo), pipeline, count):
            write_part(self.out, shard, rows, self.model)
            yield said(shard, states[shard], duplicates[shard])

    def _made(self) -> tuple[Plan, Pipeline]:
        """The plan and what judges, made at the first shard. Raises ClusterError where this node differs."""
        if self._ready is None:
            if not os.path.isdir(self.out):
                raise ClusterError(
                    f"The node {os.uname().nodename} does not see {self.out}; "
                    "--out must be a folder that all nodes share."
                )
            with contextlib.suppress(OSError):  # for relative paths in options
                os.chdir(self.cwd)
            plan = Plan.open(self.out)
            detector = self._load()
            if detector.model != self.model:
                raise ClusterError(
                    f"The node {os.uname().nodename} has another version of the model "
                    f"({detector.model['version']}, not {self.model['version']}); install the same on all nodes."
                )
            self._ready = plan, Pipeline(detector, self.settings)
        return self._ready


def said(shard: int, states: Counter[str] | None = None, duplicates: int = 0, failure: str = "") -> Said:
    """The row of a shard as Ray takes it: arrays of length one."""
    names = np.empty(1, object)
    counts = np.empty(1, object)
    names[0], counts[0] = list(states or ()), list((states or {}).values())
    return {
        "shard": np.array([shard]),
        "states": names,
        "counts": counts,
        "duplicates": np.array([duplicates]),
        "failure": np.array([failure], object),
    }
