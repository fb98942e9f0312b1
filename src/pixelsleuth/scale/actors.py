"""A scan on Ray: what an actor does with shards, and the count of what all of them did.

Paths travel, never pixels: an actor reads the shard from the plan, judges it as the local engine does and writes its
part by itself. So nothing of a picture enters Ray's object store, and what an actor that died leaves behind is what a
killed local run leaves: shards without a part.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.engine import check_model, node_name
from pixelsleuth.errors import ClusterError
from pixelsleuth.reporting import words
from pixelsleuth.scale.journal import Journal
from pixelsleuth.scale.parts import stands, states_of, write_part
from pixelsleuth.scale.pipeline import JudgeSettings, Pipeline
from pixelsleuth.scale.plan import Plan
from pixelsleuth.scale.shards import judge_shards

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.engine import Engine
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.scale.listing import Entry
    from pixelsleuth.scale.local import Tally


def run_ray(
    engine: Engine,
    todo: Sequence[int],
    out: Path,
    load: Callable[[], Detector],
    model: dict[str, str],
    settings: JudgeSettings,
    tally: Tally,
    run: str,
) -> None:
    """Judge the shards `todo` of the plan in `out` and write their parts; `load` gives a detector in each actor.

    `run` names the run. `out` is a folder that every node sees under the same path. Raises ClusterError where a part
    cannot be written, where a node has another `model`, and where shards end their actors again and again.
    """
    make = functools.partial(ShardJudge, str(out.absolute()), load, model, settings, run)
    for _, (states, duplicates) in engine.run(make, todo, kind="shard", name=lambda n: str(todo[n])):
        tally.add(Counter(states), duplicates)


class ShardJudge:
    """Judges shards and writes their parts; of each it tells the count of states, and of duplicates."""

    def __init__(
        self,
        out: str,
        load: Callable[[], Detector],
        model: dict[str, str],
        settings: JudgeSettings,
        run: str,
        cpus: int,
    ) -> None:
        self.out, self.model, self.settings = out, model, replace(settings, workers=cpus)
        self._load, self._run = load, run
        self._ready: tuple[Plan, Pipeline, Journal] | None = None

    def __call__(self, tasks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, Any]]:
        numbers = {}
        for number, shard in tasks:
            if stands(self.out, shard):  # this task is tried again after its actor died
                yield number, states_of(self.out, shard)
            else:
                numbers[shard] = number
        if not numbers:
            return
        plan, pipeline, journal = self._made()
        states: dict[int, Counter[str]] = {shard: Counter() for shard in numbers}
        duplicates: Counter[int] = Counter()

        def count(entry: Entry, verdict: Verdict | None) -> None:
            shard = entry.id // plan.settings.shard_size
            if verdict is None:
                duplicates[shard] += 1
            else:
                states[shard][words.state_of(verdict)] += 1

        def entries() -> Iterator[tuple[int, list[Entry]]]:
            for shard in numbers:
                journal.begin(shard)
                yield shard, plan.entries(shard)

        for shard, rows in judge_shards(entries(), pipeline, count):
            write_part(self.out, shard, rows, self.model)
            journal.settle(shard)
            yield numbers[shard], (states[shard], duplicates[shard])

    def _made(self) -> tuple[Plan, Pipeline, Journal]:
        """The plan, what judges, its journal, made at the first shard. Raises ClusterError where this node differs."""
        if self._ready is None:
            if not os.path.isdir(self.out):
                raise ClusterError(
                    f"The node {node_name()} does not see {self.out}; --out must be a folder that all nodes share."
                )
            plan = Plan.open(self.out)
            detector = self._load()
            check_model(detector, self.model)
            # Ray replaces an actor that ends, so that this one may end by itself where a picture takes too long.
            journal = Journal(self.out, plan.settings.shard_size, self._run, self.settings.seconds)
            self._ready = plan, Pipeline(detector, self.settings, journal), journal
        return self._ready
