"""How a cluster is divided: the number of actors, the CPUs of each, how much an actor gets at a time.

A shard is here what an actor carries out as one: a shard of a scan, a batch of an evaluation, a line of the forge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pixelsleuth.errors import ClusterError

SHARDS_OF_A_TASK = 8
"""Shards that an actor gets at a time: it reads the next one ahead while it judges, so it idles between tasks only."""
TASKS_OF_AN_ACTOR = 4
"""Tasks that each actor gets at the least, where there are shards enough: actors are not equally fast."""
MOST_TASKS = 10_000
"""Tasks of a pass: Ray's driver holds some kilobytes for each."""


@dataclass(frozen=True)
class ClusterSettings:
    """How work is divided: `actors` is their number, None for as many as fit; `gpus_per_actor` what each takes of a
    node's GPUs, 0 for none; `workers` the CPUs that it takes (with `scan` its decoding processes), None for its share
    of a node.
    """

    actors: int | None = None
    gpus_per_actor: float = 0.0
    workers: int | None = None


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
