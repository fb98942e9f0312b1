"""Duplicates among the inputs of a plan: found once, before anything is judged, so that every engine skips the same.

The first input of a group is judged, the others get a row that names it. Hashes are held in memory (24 bytes an
input; perceptual ones, which are looked up by their pieces, some hundreds); pictures are not.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.io import write_bytes
from pixelsleuth.errors import PictureError, PlanMismatch
from pixelsleuth.scale.listing import arrow
from pixelsleuth.scale.reading import read

if TYPE_CHECKING:
    from pixelsleuth.scale.listing import Entry
    from pixelsleuth.scale.pipeline import JudgeSettings
    from pixelsleuth.scale.plan import Plan

FILE = "duplicates.parquet"
KINDS = ("sha256", "phash")
HASHED = 16
"""Bytes of a SHA-256 that are compared: among 10^10 files two agree by chance once in 10^18 cases."""
TOLERANCE = 2
"""Bits that the perceptual hashes of two saves of one picture may differ in."""
BANDS = ((0, 21), (21, 21), (42, 22))
"""(first bit, bits) of the TOLERANCE + 1 pieces of a hash by which near ones are looked up."""
TOGETHER = 64
"""Files that are read and hashed at a time."""
Hashes = Iterator[tuple[int, bytes]]


def write_duplicates(
    plan: Plan, out: Path, kind: str, settings: JudgeSettings, watch: Callable[[int], None]
) -> int:
    """Find the duplicates of a plan and write them beside it; return how many there are.

    `sha256`: the same bytes; only files of equal size are read. `phash`: pictures that look the same; all are decoded.
    What cannot be read is no duplicate. `watch` is called with 1 for each input that was hashed. Raises OutputError.
    """
    hashes = _sha256(plan, settings.base) if kind == "sha256" else _phash(plan, settings)
    ids = np.empty(plan.rows, np.int64)
    values = np.zeros((plan.rows, HASHED), np.uint8)
    count = 0
    for number, digest in hashes:
        ids[count] = number
        values[count, : len(digest)] = np.frombuffer(digest, np.uint8)
        count += 1
        watch(1)
    copies, firsts = (grouped if kind == "sha256" else alike)(ids[:count], values[:count])
    _write(out / FILE, copies, firsts)
    return len(copies)


def grouped(ids: NDArray[np.int64], values: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(ids of copies, sorted; the smallest id with the same value for each). `values` is (n, HASHED) uint8."""
    halves = np.ascontiguousarray(values).view(np.uint64)
    order = np.lexsort((ids, halves[:, 1], halves[:, 0]))
    same = np.zeros(len(ids), bool)
    same[1:] = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(ids))))
    copies, firsts = ids[order][same], ids[order[starts]][same]
    by_id = np.argsort(copies)
    return copies[by_id], firsts[by_id]


def alike(ids: NDArray[np.int64], values: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `grouped`, for perceptual hashes in the first 8 bytes: at most TOLERANCE bits apart.

    Inputs are taken by their ids; one that is like an input before it that is itself no copy is a copy of that one.
    """
    hashes = np.ascontiguousarray(values[:, :8]).view(">u8").ravel()
    kept: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    copies: list[int] = []
    firsts: list[int] = []
    order = np.argsort(ids)
    for number, value in zip(ids[order].tolist(), hashes[order].tolist(), strict=True):
        # One of TOLERANCE + 1 pieces is the same in two hashes that differ in TOLERANCE bits.
        pieces = [(place, value >> shift & (1 << width) - 1) for place, (shift, width) in enumerate(BANDS)]
        near = [
            first
            for piece in pieces
            for first, other in kept[piece]
            if (value ^ other).bit_count() <= TOLERANCE
        ]
        if near:
            copies.append(number)
            firsts.append(min(near))
        else:
            for piece in pieces:
                kept[piece].append((number, value))
    return np.array(copies, np.int64), np.array(firsts, np.int64)


class Duplicates:
    """The duplicates of a plan, as `write_duplicates` wrote them. Raises PlanMismatch where the file is damaged."""

    def __init__(self, out: str | os.PathLike[str]) -> None:
        pa = arrow()
        path = Path(out) / FILE
        try:
            table = pa.parquet.read_table(path)
            self._copies = table.column("id").to_numpy()
            self._firsts = table.column("duplicate_of").to_numpy()
        except (pa.ArrowException, OSError, KeyError) as error:
            raise PlanMismatch(
                f"{path} cannot be read; remove it, and --resume finds the duplicates again."
            ) from error

    def of(self, first: int, count: int) -> dict[int, int]:
        """Copy -> the input judged in its place, for the inputs `first` to `first + count - 1`."""
        start, stop = np.searchsorted(self._copies, (first, first + count))
        pairs = zip(self._copies[start:stop].tolist(), self._firsts[start:stop].tolist(), strict=True)
        return dict(pairs)


def _write(path: Path, copies: NDArray[np.int64], firsts: NDArray[np.int64]) -> None:
    import io

    pa = arrow()
    memory = io.BytesIO()
    pa.parquet.write_table(pa.table({"id": copies, "duplicate_of": firsts}), memory, compression="zstd")
    write_bytes(path, memory.getvalue(), kind="list of duplicates")


def _sha256(plan: Plan, base: str) -> Hashes:
    """(id, hash) of the inputs that share their size with another one."""

    def hashed(entry: Entry) -> tuple[int, bytes] | None:
        try:
            return entry.id, hashlib.sha256(read(entry, base)).digest()[:HASHED]
        except PictureError:
            return None  # its row will say why

    entries = _of_equal_size(plan)
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="hash") as threads:
        while some := list(islice(entries, TOGETHER)):
            yield from filter(None, threads.map(hashed, some))


def _of_equal_size(plan: Plan) -> Iterator[Entry]:
    sizes = plan.sizes()
    ordered = np.sort(sizes)
    several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    unknown = bool(len(ordered)) and ordered[0] < 0  # such a file may be as large as any other
    wanted = np.ones(len(sizes), bool) if unknown else np.isin(sizes, several)
    shards = np.unique(np.flatnonzero(wanted) // plan.settings.shard_size)
    for shard in shards.tolist():
        yield from (entry for entry in plan.entries(shard) if wanted[entry.id])


def _phash(plan: Plan, settings: JudgeSettings) -> Hashes:
    """(id, hash) of every picture that can be decoded, in any order."""
    from dataclasses import replace

    from pixelsleuth.scale.hashing import FIELD, Hasher
    from pixelsleuth.scale.pipeline import Pipeline

    entries: Iterable[Entry] = (entry for shard in range(plan.shards) for entry in plan.entries(shard))
    with Pipeline(Hasher(), replace(settings, evidence=False, explain=False)) as pipeline:
        for entry, verdict in pipeline.judge(entries):
            if verdict.ok:
                yield entry.id, bytes.fromhex(verdict.metadata[FIELD])
