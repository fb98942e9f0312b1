"""Lines of a stage done by an engine (`core.engine`), on this machine or on others.

An engine gets places in the stage's input, not lines: every node sees the folder of the run, reads the line there and
writes pictures there. What a line became travels back, so that the journal has one writer.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.core.engine import Engine, node_name
from pixelsleuth.core.engine import Work as EngineWork
from pixelsleuth.errors import ClusterError, PixelSleuthError, Unavailable
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Outcome, Stage, Work, attempt

KINDS = ("process", "serial")
"""Kinds of stages whose lines an engine takes over. The others wait for a service, or are too light to be sent."""


def by_engine(
    engine: Engine, context: Context, stage: Stage, source: Path, done: Collection[str]
) -> Iterator[tuple[str, Outcome]]:
    """Do the lines of `source` whose id is not `done`; yields the id of each with what became of it.

    Lines of the kind process take one CPU each; those of the kind serial run a model, which takes what the engine
    gives. Raises UsageError.
    """
    places, names = [], []
    with source.open("rb") as stream:
        place = 0
        for line in stream:
            name = json.loads(line)["id"]
            if name not in done:
                places.append(place)
                names.append(name)
            place += len(line)
    make = functools.partial(_begin, stage.work, source.absolute(), context)
    cpus = 1 if stage.kind == "process" else None
    for number, result in engine.run(make, places, kind="line", name=lambda n: names[n], cpus=cpus):
        if "unavailable" in result:
            yield names[number], Unavailable(result["unavailable"])
        else:
            yield names[number], result["rows"]


def _begin(work: Work, source: Path, context: Context, cpus: int) -> EngineWork:
    """What does lines in a process of an engine. Raises ClusterError where its node does not see what it needs."""
    import cv2

    cv2.setNumThreads(cpus)
    for path in (source, context.root):
        if not path.exists():
            raise ClusterError(
                f"The node {node_name()} does not see {path}; out= and the photographs must be under the same path "
                "on all nodes."
            )

    def do(tasks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, Any]]:
        with source.open("rb") as stream:
            for number, place in tasks:
                stream.seek(place)
                made = attempt(work, json.loads(stream.readline()), context)
                failed = isinstance(made, PixelSleuthError)
                yield number, {"unavailable": str(made)} if failed else {"rows": made}

    return do
