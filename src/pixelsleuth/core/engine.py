"""What a command needs of the place where its heavy part runs. `scale.engine.RayEngine` is one; without one a command
works in its own process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pixelsleuth.errors import ClusterError

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector

Work = Callable[[Iterable[tuple[int, Any]]], Iterator[tuple[int, Any]]]
"""Does tasks: pairs (number, task) to pairs (number, result), in any order. Both are values that JSON can hold."""
MakeWork = Callable[[int], Work]
"""Called once in each process that works, with the number of its CPUs. It is pickled on its way there."""


class Engine(Protocol):
    """Carries out tasks in other processes."""

    def run(
        self,
        make: MakeWork,
        tasks: Sequence[Any],
        *,
        kind: str,
        name: Callable[[int], str],
        cpus: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Yield the number of each task with its result, each once, in any order.

        `kind` and `name` are words for messages: what a task is, and which one. `cpus`: CPUs of a process; None
        leaves it to the engine, and gives GPUs where the user named some.

        Raises UsageError: what a process raised, or ClusterError where tasks end their processes.
        """


def node_name() -> str:
    """The name of this machine, for messages of a process that works."""
    return os.uname().nodename


def check_model(detector: Detector, model: Mapping[str, str]) -> None:
    """Raise ClusterError where the detector of this node is another than `model`."""
    if detector.model != model:
        raise ClusterError(
            f"The node {node_name()} has another version of the model "
            f"({detector.model['version']}, not {model['version']}); install the same on all nodes."
        )
