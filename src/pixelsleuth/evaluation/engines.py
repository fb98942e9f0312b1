"""The batches of one detector, judged in this process or by an engine (`core.engine`), in the same order either way.

An engine finishes batches in any order. What comes before its turn waits in a journal (`predictions.part.jsonl`), so
that the log grows as in a run of one process, byte for byte but for the times, and a killed run loses nothing of it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence

from pixelsleuth.core.engine import Engine, Work, check_model, node_name
from pixelsleuth.core.journal import Journal
from pixelsleuth.errors import ClusterError, UsageError
from pixelsleuth.evaluation.judging import Batch, Judge
from pixelsleuth.evaluation.predictions import PredictionLog, Row

JOURNAL = "predictions.part.jsonl"
"""Batches that came before their turn; removed with the last of them."""


def judged(
    judge: Judge, log: PredictionLog, engine: Engine | None, make: Callable[[], Judge]
) -> Iterator[list[Row]]:
    """Yield the rows of each batch that the log lacks, in order. `make` gives the judge in a process of the engine.

    Raises ClusterError where the engine cannot go on, OutputError where the journal cannot be written.
    """
    batches = list(judge.batches(log.done))
    path = log.path.with_name(JOURNAL)
    if not batches or (engine is None and not path.is_file()):
        for _, rows in judge.rows(enumerate(batches)):
            yield rows
        return

    def run(left: Sequence[Batch]) -> Iterator[tuple[int, list[Row]]]:
        if engine is None:
            return judge.rows(enumerate(left))
        work = functools.partial(_work, make, judge.detector.model, judge.pictures.digest)
        return engine.run(work, left, kind="batch", name=lambda n: f"that of {judge.name(left[n][0][0])}")

    journal = Journal(path, log.head)
    try:
        yield from in_order(batches, [_name(judge, batch) for batch in batches], run, journal)
        journal.remove()
    finally:
        journal.close()


def in_order(
    batches: Sequence[Batch],
    names: Sequence[str],
    run: Callable[[Sequence[Batch]], Iterator[tuple[int, list[Row]]]],
    journal: Journal,
) -> Iterator[list[Row]]:
    """Yield the rows of each batch in the order of `batches`; `run` yields them in any order.

    What the journal holds under the `names` of the batches is not run again.
    """
    left = [number for number, name in enumerate(names) if name not in journal.places]
    results = run([batches[number] for number in left])
    for number, name in enumerate(names):
        while name not in journal.places:
            place, rows = next(results)
            if left[place] == number:
                yield rows
                break
            journal.add(names[left[place]], rows)
        else:
            yield journal.rows(name)


def _name(judge: Judge, batch: Batch) -> str:
    facts = json.dumps([judge.detector.name, judge.detector.version, batch])
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _work(make: Callable[[], Judge], model: dict[str, str], digest: str, cpus: int) -> Work:
    """What judges batches in a process of an engine. Raises ClusterError where this node differs from the first."""
    del cpus
    try:
        judge = make()
    except UsageError as error:
        raise ClusterError(f"The node {node_name()} cannot judge: {error}") from error
    check_model(judge.detector, model)
    if judge.pictures.digest != digest:
        raise ClusterError(
            f"The node {node_name()} sees other pictures; --data must be the same on all nodes."
        )
    return judge.rows
