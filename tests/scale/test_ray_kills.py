"""A scan on two nodes of which anything is killed at any moment ends with the rows of one that was left alone."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from scale_kills import Scan, assert_same_rows, command_of, pause, workers
from scale_tools import FAKES, write_pictures

if importlib.util.find_spec("ray") is None:
    pytest.skip("the Ray engine: install the extra scale", allow_module_level=True)
WORKER, ACTOR, COMMAND, NODE, EVERYTHING = (
    "a decoding process",
    "an actor",
    "the command",
    "a node",
    "everything at once",
)
KINDS = (WORKER, ACTOR, COMMAND, NODE, EVERYTHING)
ROUNDS = 4
"""Kills of each kind."""


class Nodes:
    """Two raylets on loopback, the head and another one, both children of this process."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._node = {"num_cpus": 1, "object_store_memory": 100 << 20}
        self.cluster = Cluster(
            initialize_head=True, head_node_args={**self._node, "include_dashboard": False}
        )
        self.second: Any = self.cluster.add_node(**self._node)

    def lose(self) -> None:
        """Kill the second node with all its processes, and let another one join."""
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self.cluster.add_node(**self._node)

    def close(self) -> None:
        """End what still lives."""
        with contextlib.suppress(Exception):  # of a killed cluster Ray finds nothing to end
            self.cluster.shutdown()
        for process in processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def processes() -> list[psutil.Process]:
    """All that this process started: the nodes, their actors, the command."""
    return psutil.Process().children(recursive=True)


def actors() -> list[psutil.Process]:
    """The actors that judge."""
    return [one for one in processes() if command_of(one).startswith("ray::MapWorker")]


def kill_one(scan: Scan, kind: str, nodes: Nodes, draw: random.Random) -> Nodes:
    """Kill what `kind` says; the nodes that stand afterwards."""
    one_of: Callable[[list[psutil.Process]], list[psutil.Process]] = lambda those: (  # noqa: E731
        [draw.choice(those)] if those else []
    )
    if kind == WORKER:
        scan.kill(kind, lambda: one_of(workers(processes())))
    elif kind == ACTOR:
        scan.kill(kind, lambda: one_of(actors()))
    elif kind == COMMAND:
        scan.kill(kind, lambda: scan.tree()[:1])
    elif kind == NODE:
        if scan.kill(kind, lambda: scan.tree()[:1] if actors() else [], 0):  # the signal 0: it runs
            nodes.lose()
    elif scan.kill(kind, processes, signal.SIGKILL):
        nodes.close()
        return Nodes()
    return nodes


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(3600)
def test_a_cluster_of_which_anything_is_killed_ends_with_the_same_rows(
    tmp_path: Path, scan: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 24)
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{pictures[number % 24]}\n" for number in range(1600)))
    assert scan(source, tmp_path / "undisturbed", shard_size=8) == 0
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, [FAKES, *filter(None, sys.path)])))
    monkeypatch.setenv("STUB_SECONDS", "0.02")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # on a busy machine
    draw = random.Random(20261129)
    kinds = list(KINDS) * ROUNDS
    draw.shuffle(kinds)
    nodes = Nodes()
    killed = Scan(source, tmp_path / "out", seconds=0.02)
    try:
        for kind in kinds:
            killed.options = ("--engine", "ray", "--address", nodes.cluster.address)
            killed.go_on()
            pause(draw, killed)
            started, done = time.monotonic(), killed.kills.total()
            while True:
                nodes = kill_one(killed, kind, nodes, draw)
                if killed.kills.total() > done:
                    break
                killed.begin_again()
            print(f"{kind}: {killed.parts()} parts, {time.monotonic() - started:.0f} s", flush=True)
        killed.options = ("--engine", "ray", "--address", nodes.cluster.address)
        assert killed.finish() == 0, killed.said()
    finally:
        nodes.close()
    print(dict(killed.kills))
    assert killed.kills.total() == len(kinds)
    assert_same_rows(killed, tmp_path / "undisturbed")
