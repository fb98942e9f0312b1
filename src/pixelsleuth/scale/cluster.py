"""The Ray engine: actors on this machine or on a cluster judge the shards that are missing.

A row of Ray's data set is the number of a shard. Paths travel, never pixels: an actor reads the shard from the plan,
judges it as the local engine does and writes its part by itself. So nothing of a picture enters Ray's object store, and
what an actor that died leaves behind is what a killed local run leaves: shards without a part.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import ClusterError
from pixelsleuth.reporting import words
from pixelsleuth.scale.actors import ShardJudge
from pixelsleuth.scale.parts import stands, states_of

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.scale.local import Tally
    from pixelsleuth.scale.pipeline import JudgeSettings

SHARDS_OF_A_TASK = 8
"""Shards that an actor gets at a time: it reads the next one ahead while it judges, so it idles between tasks only."""
TASKS_OF_AN_ACTOR = 4
"""Tasks that each actor gets at the least, where there are shards enough: actors are not equally fast."""
MOST_TASKS = 10_000
"""Tasks of a pass: Ray's driver holds some kilobytes for each."""
QUEUED_TASKS = 2
"""Tasks that an actor holds: the one that it works on, and the next."""
TASK_RETRIES = 2
"""How often Ray gives a task to an actor again that died from it. The shards whose part stands are not judged again."""
BLOCK_BYTES = 1 << 20
"""Bytes of a block of Ray's data set; ours hold a few numbers, and Ray reserves memory for blocks of this size."""
LISTED = 5
"""Shards that a message names."""


@dataclass(frozen=True)
class ClusterSettings:
    """How a scan is divided: `actors` is the number of judges, None for
    as many as fit; `gpus_per_actor` what each takes of a node's GPUs, 0 for none; `workers` the decoding processes of
    each and the CPUs that it takes, None for its share of a node.
    """

    actors: int | None = None
    gpus_per_actor: float = 0.0
    workers: int | None = None


def run_ray(
    todo: Sequence[int],
    out: Path,
    load: Callable[[], Detector],
    model: dict[str, str],
    settings: JudgeSettings,
    cluster: ClusterSettings,
    tally: Tally,
) -> None:
    """Judge the shards `todo` of the plan in `out` and write their parts; `load` gives a detector in each actor.

    Needs a session of Ray (`sessions.connected`); `out` is a folder that every node sees under the same path. Raises
    ClusterError where a part cannot be written, where a node has another `model`, and where shards end their actors in
    every try of two passes.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    actors, cpus = division(nodes, cluster)
    judge = {
        "out": str(out.absolute()),
        "cwd": os.getcwd(),
        "load": load,
        "model": model,
        "settings": replace(settings, workers=cpus),
    }
    left = list(todo)
    size = task_size(len(left), actors)
    while left:
        before = len(left)
        left = _pass(left, size, judge, min(actors, before), cpus, cluster.gpus_per_actor, tally)
        if size == 1 and len(left) == before:
            named = ", ".join(map(str, left[:LISTED])) + (", ..." if before > LISTED else "")
            raise ClusterError(
                f"Ray lost the actors that judged {words.count(before, 'shard')} ({named}) several times over; "
                "see Ray's logs for the reason (memory, as a rule), then go on with --resume."
            )
        size = 1  # what killed an actor is now alone with it


def task_size(shards: int, actors: int) -> int:
    """The number of shards of a task.

    >>> task_size(3, 2), task_size(100, 2), task_size(10**6, 2)
    (1, 8, 100)
    """
    fair = min(SHARDS_OF_A_TASK, shards // (TASKS_OF_AN_ACTOR * actors))
    return max(1, fair, -(-shards // MOST_TASKS))


def division(nodes: Sequence[dict[str, float]], cluster: ClusterSettings) -> tuple[int, int]:
    """The number of actors and the CPUs of each, from the resources of the nodes (`{"CPU": 8.0, "GPU": 1.0}`).

    Without GPUs there is one actor a node of the smallest node's size, since a judge uses every core; with GPUs there
    are as many as the GPUs carry. Raises ClusterError where no node has what an actor needs.

    >>> division([{"CPU": 8.0}, {"CPU": 16.0}, {}], ClusterSettings())
    (3, 8)
    >>> division([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0}], ClusterSettings(gpus_per_actor=1))
    (2, 8)
    """
    gpus = cluster.gpus_per_actor
    usable = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= gpus]
    if not usable:
        what = f"a CPU and {gpus:g} GPUs" if gpus else "a CPU"
        raise ClusterError(
            f"No node of the cluster has {what} for an actor; change --gpus-per-actor, or add nodes."
        )
    places = [int(node["GPU"] / gpus) if gpus else 1 for node in usable]
    if cluster.workers is not None:
        cpus = cluster.workers
    elif cluster.actors is not None and not gpus:
        total = sum(int(node["CPU"]) for node in usable)
        cpus = max(1, min(total // cluster.actors, *(int(node["CPU"]) for node in usable), total))
    else:
        cpus = max(1, min(int(node["CPU"]) // place for node, place in zip(usable, places, strict=True)))
    fitting = [
        min(int(node["CPU"]) // cpus, place) if gpus else int(node["CPU"]) // cpus
        for node, place in zip(usable, places, strict=True)
    ]
    if not sum(fitting):
        raise ClusterError(f"No node of the cluster has {cpus} CPUs for an actor; choose fewer --workers.")
    return cluster.actors or sum(fitting), cpus


def _pass(
    todo: list[int], size: int, judge: dict[str, Any], actors: int, cpus: int, gpus: float, tally: Tally
) -> list[int]:
    """Give every shard to an actor once; return those whose part does not stand afterwards."""
    left = set(todo)
    for result in _results(todo, size, judge, actors, cpus, gpus):
        if result["failure"]:
            raise ClusterError(result["failure"])
        left.discard(result["shard"])
        tally.add(Counter(dict(zip(result["states"], result["counts"], strict=True))), result["duplicates"])
    # Of a task that died Ray returns nothing, also where some of its parts stand.
    for shard in sorted(left):
        if stands(judge["out"], shard):
            left.discard(shard)
            tally.add(*states_of(judge["out"], shard))
    return sorted(left)


def _results(
    todo: list[int], size: int, judge: dict[str, Any], actors: int, cpus: int, gpus: float
) -> Iterator[dict[str, Any]]:
    """What the actors say of each shard, in the order in which tasks end."""
    import pyarrow as pa
    import ray.data

    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    context.max_errored_blocks = -1  # a task whose actor died costs its shards; the next pass has them again
    with ray.data.DataContext.current(context):
        tables = [pa.table({"shard": todo[start : start + size]}) for start in range(0, len(todo), size)]
        judged = ray.data.from_arrow(tables).map_batches(
            ShardJudge,
            fn_constructor_kwargs=judge,
            batch_size=None,
            # A pool that can shrink gives the place of an idle actor to one whose node died.
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=actors, initial_size=actors, max_tasks_in_flight_per_actor=QUEUED_TASKS
            ),
            num_cpus=cpus,
            num_gpus=gpus or None,
            max_task_retries=TASK_RETRIES,
        )
        yield from judged.iter_rows()
