"""Which inputs are at the detector now, kept beside the parts: who goes on after a judge that died knows its suspects.

A shard under way has a journal, `.part-000000012.judging`: before a batch goes to the detector, the numbers of its
inputs are written there, and removed after it. A judge that crashes, is killed for its memory or for its time leaves
them. The next judge of the shard gives these inputs to the detector one at a time; one at which it ends again becomes
an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from pixelsleuth.core.io import failed
from pixelsleuth.scale.parts import part_path

CRASHED, STOPPED, ENOUGH = 6, 2, 12
"""What counts against an input: a judge that died at it while its run went on; a whole run that was killed meanwhile,
which is rarely the input's fault; and how much makes it an error: two of the first, or six of the second."""
LONGEST = 1 << 20
"""Bytes of a journal that are read."""


class Journal:
    """The journals of the shards that one judge has under way.

    `run` names the run that judges: all processes that follow each other in it have the same one. `seconds` is the time
    that an input may take; after it this process ends (SIGALRM). None for a process that must not end by itself.
    """

    def __init__(self, out: str | os.PathLike[str], shard_size: int, run: str, seconds: float | None) -> None:
        self.out, self.shard_size, self.run, self.seconds = out, shard_size, run, seconds
        self._marks: dict[int, dict[int, int]] = {}
        self._paths: dict[int, Path] = {}

    def begin(self, shard: int) -> None:
        """Take a shard up, with what a judge left that died."""
        self._marks[shard], left = self._read(shard)
        if left:
            self._write(shard, [])

    def suspect(self, number: int) -> bool:
        """True for an input that shall be alone at the detector."""
        return self._marks_of(number) > 0

    def condemned(self, number: int) -> bool:
        """True for an input that the detector shall not get again."""
        return self._marks_of(number) >= ENOUGH

    @contextlib.contextmanager
    def judging(self, numbers: Sequence[int]) -> Iterator[None]:
        """Name the inputs that the block gives to the detector. Raises OutputError where that cannot be written."""
        shards: dict[int, list[int]] = {}
        for number in numbers:
            shards.setdefault(number // self.shard_size, []).append(number)
        for shard, inputs in shards.items():
            self._write(shard, inputs)
        if self.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, self.seconds * len(numbers))
        try:
            yield
        finally:
            if self.seconds is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)
            for shard in shards:
                self._write(shard, [])

    def settle(self, shard: int) -> None:
        """Remove the journal of a shard whose part stands."""
        self._marks.pop(shard, None)
        with contextlib.suppress(OSError):
            self._path(shard).unlink(missing_ok=True)
        self._paths.pop(shard, None)

    def close(self) -> None:
        """Remove the journals of shards that were left in order; those with marks stay for the next run."""
        for shard in [shard for shard, marks in self._marks.items() if not marks]:
            self.settle(shard)

    def _marks_of(self, number: int) -> int:
        return self._marks.get(number // self.shard_size, {}).get(number, 0)

    def _path(self, shard: int) -> Path:
        path = self._paths.get(shard)
        if path is None:
            part = part_path(self.out, shard)
            path = self._paths[shard] = part.with_name(f".{part.stem}.judging")
        return path

    def _read(self, shard: int) -> tuple[dict[int, int], list[int]]:
        """The marks of a shard's inputs, those of a judge that died among them, and the inputs that it had."""
        try:
            with open(self._path(shard), "rb") as file:
                kept = json.loads(file.readline(LONGEST))
            left = [int(number) for number in kept["inputs"]]
            marks = {int(number): int(mark) for number, mark in kept["marks"].items()}
            weight = CRASHED if kept["run"] == self.run else STOPPED
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}, []  # there is none, or a power failure cut it short
        for number in left:
            marks[number] = marks.get(number, 0) + weight
        return marks, left

    def _write(self, shard: int, inputs: Sequence[int]) -> None:
        kept = {"run": self.run, "inputs": inputs, "marks": self._marks.get(shard, {})}
        # Written over what stands, which is never emptied first: a process that dies here loses no marks. Who reads
        # takes the first line.
        line = json.dumps(kept).encode() + b"\n"
        path = self._path(shard)
        try:
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            raise failed(part_path(self.out, shard), "part", error) from error
