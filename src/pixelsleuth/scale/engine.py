"""The Ray engine: actors on this machine or on a cluster carry out tasks, for `scan`, `evaluate` and `forge`.

A row of Ray's data set is the number of a task and the task as JSON: the number of a shard, of pictures, a place in a
file. Pictures never travel: an actor reads them where they lie. What an actor that died leaves behind is a task without
a result, which others carry out again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pixelsleuth.core.engine import MakeWork, Work
from pixelsleuth.core.memory import reuse_freed_memory
from pixelsleuth.errors import ClusterError, MissingExtra, PixelSleuthError, UsageError
from pixelsleuth.reporting import words
from pixelsleuth.scale.cluster import ClusterSettings, division, task_size
from pixelsleuth.scale.sessions import connected

QUEUED_TASKS = 2
"""Tasks of Ray that an actor holds: the one that it works on, and the next."""
TASK_RETRIES = 5
"""How often Ray gives a task to an actor again that died from it: a picture that ends its judge costs two tries before
`scan` makes it an error."""
BLOCK_BYTES = 1 << 20
"""Bytes of a block of Ray's data set, for which Ray reserves memory."""
LISTED = 5
"""Tasks that a message names."""


class RayEngine:
    """An engine (`core.engine.Engine`) on Ray. Use it as a context: its session begins with the first tasks and ends
    with the context. Raises MissingExtra.
    """

    def __init__(self, address: str | None = None, cluster: ClusterSettings | None = None) -> None:
        self.address, self.cluster = address, cluster or ClusterSettings()
        self._session = contextlib.ExitStack()
        self._nodes: list[dict[str, float]] | None = None

    def __enter__(self) -> RayEngine:
        from importlib.util import find_spec

        for package in ("ray", "pyarrow"):
            if find_spec(package) is None:
                raise MissingExtra(package, "scale")
        return self

    def __exit__(self, *_: object) -> None:
        self._nodes = None
        self._session.close()

    def run(
        self,
        make: MakeWork,
        tasks: Sequence[Any],
        *,
        kind: str,
        name: Callable[[int], str],
        cpus: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """As `core.engine.Engine.run`. Raises ClusterError also where tasks end their actors in every try of two
        passes; all others are carried out first.
        """
        left = dict(enumerate(tasks))
        if not left:
            return
        settings = self.cluster if cpus is None else ClusterSettings(self.cluster.actors, workers=cpus)
        actors, cpus = division(self._started(), settings)
        size = task_size(len(left), actors)
        while left:
            before = len(left)
            given = {"make": make, "cwd": os.getcwd(), "cpus": cpus}
            for row in _results(left, size, given, min(actors, before), settings.gpus_per_actor):
                if row["failure"]:
                    raise ClusterError(row["failure"])
                number = int(row["number"])
                if left.pop(number, row) is not row:
                    yield number, json.loads(row["result"])
            if size == 1 and len(left) == before:
                named = ", ".join(map(name, list(left)[:LISTED])) + (", ..." if before > LISTED else "")
                raise ClusterError(
                    f"Ray lost the actors that worked on {words.count(before, kind)} ({named}) several times over; "
                    "see Ray's logs for the reason (memory, as a rule), then run the command again (scan: --resume)."
                )
            size = 1  # what killed an actor is now alone with it

    def _started(self) -> list[dict[str, float]]:
        """The resources of the nodes of the session, which begins here."""
        if self._nodes is None:
            ray = self._session.enter_context(connected(self.address))
            self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return self._nodes


def engine_of(
    engine: str, address: str | None, actors: int | None, gpus_per_actor: float, workers: int | None = None
) -> RayEngine | None:
    """The engine that the options name; None for `local`. Raises UsageError."""
    if engine == "ray":
        return RayEngine(address, ClusterSettings(actors, gpus_per_actor, workers))
    if address or actors or gpus_per_actor:
        raise UsageError("--address, --actors and --gpus-per-actor go with --engine ray.")
    return None


class Actor:
    """Called by Ray with tasks, yields a row a result.

    What fails is told in the row's `failure`, since Ray would put its own trace around an exception.
    """

    def __init__(self, make: MakeWork, cwd: str, cpus: int) -> None:
        self._make, self._cwd, self._cpus = make, cwd, cpus
        self._work: Work | None = None

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        tasks = [(int(n), json.loads(task)) for n, task in zip(batch["number"], batch["task"], strict=True)]
        try:
            if self._work is None:
                with contextlib.suppress(OSError):  # for relative paths in options
                    os.chdir(self._cwd)
                # As many threads as Ray gives this actor CPUs: others may work on the same node.
                os.environ["OMP_NUM_THREADS"] = str(self._cpus)
                reuse_freed_memory()  # Ray starts a process for each actor
                self._work = self._make(self._cpus)
            for number, result in self._work(tasks):
                yield _row(number, result)
        except PixelSleuthError as error:
            yield _row(-1, failure=str(error))
        except Exception as error:
            yield _row(-1, failure=f"An actor failed ({type(error).__name__}: {error}); please report it.")


def _row(number: int, result: Any = None, failure: str = "") -> dict[str, np.ndarray]:
    """The row of a task as Ray takes it: arrays of length one."""
    return {
        "number": np.array([number]),
        "result": np.array([json.dumps(result)], object),
        "failure": np.array([failure], object),
    }


def _results(
    tasks: Mapping[int, Any], size: int, given: dict[str, Any], actors: int, gpus: float
) -> Iterator[dict[str, Any]]:
    """What the actors say of each task, in the order in which Ray's tasks of `size` of them end."""
    import pyarrow as pa
    import ray.data

    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    context.max_errored_blocks = -1  # a task whose actor died costs its results; the next pass has them again
    with ray.data.DataContext.current(context):
        numbers, texts = list(tasks), [json.dumps(task) for task in tasks.values()]
        tables = [
            pa.table({"number": numbers[start : start + size], "task": texts[start : start + size]})
            for start in range(0, len(numbers), size)
        ]
        done = ray.data.from_arrow(tables).map_batches(
            Actor,
            fn_constructor_kwargs=given,
            batch_size=None,
            # A pool that can shrink gives the place of an idle actor to one whose node died.
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=actors, initial_size=actors, max_tasks_in_flight_per_actor=QUEUED_TASKS
            ),
            num_cpus=given["cpus"],
            num_gpus=gpus or None,
            max_task_retries=TASK_RETRIES,
        )
        yield from done.iter_rows()
