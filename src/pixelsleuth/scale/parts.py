"""The parts of a scan: one Parquet file a shard. A shard is done when its part stands; what is missing is left to do.

A part is written under a hidden name and moved into place, so that a killed run leaves whole parts only. A part that
was cut short afterwards (a copy that broke off, a power failure) has no Parquet footer and counts as missing.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.io import failed, write_bytes
from pixelsleuth.errors import DecoderFailed, InternalError, PictureNotFound
from pixelsleuth.scale.listing import arrow
from pixelsleuth.scale.rows import DUPLICATE, FAILED, schema

if TYPE_CHECKING:
    from pixelsleuth.scale.plan import Plan

FOLDER = "parts"
IN_A_FOLDER = 1000
"""Parts of one folder: file systems and people list that many with ease."""
MAGIC = b"PAR1"
"""First and last bytes of a Parquet file; before the last stand the footer's length, four bytes, little-endian."""
PASSING = (PictureNotFound.code, DecoderFailed.code, InternalError.code)
"""Errors that may pass: a store that did not answer, a lack of memory or time. A damaged file stays damaged."""
_NAME = re.compile(r"part-(\d{9,})\.parquet")


def part_path(out: str | os.PathLike[str], shard: int) -> Path:
    """Where the part of a shard stands.

    >>> part_path("out", 1234567).as_posix()
    'out/parts/001234/part-001234567.parquet'
    """
    return Path(out) / FOLDER / f"{shard // IN_A_FOLDER:06d}" / f"part-{shard:09d}.parquet"


def write_part(
    out: str | os.PathLike[str], shard: int, rows: Sequence[dict[str, Any]], model: dict[str, str]
) -> Path:
    """Write the part of a shard, whole or not at all, and return its place. Raises OutputError where that fails."""
    pa = arrow()
    ordered = sorted(rows, key=lambda row: row["id"])
    table = pa.Table.from_pylist(ordered, schema(model))
    memory = io.BytesIO()
    pa.parquet.write_table(table, memory, compression="zstd")
    path = part_path(out, shard)
    with contextlib.suppress(OSError):  # writing says why
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, memory.getvalue(), kind="part")
    return path


def missing(plan: Plan, out: str | os.PathLike[str]) -> array[int]:
    """The shards whose part does not stand, in order. Each part costs one look at its end, and no parsing."""
    standing = bytearray(plan.shards)
    try:
        folders = sorted(entry.path for entry in os.scandir(Path(out) / FOLDER))
    except FileNotFoundError:
        folders = []
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                match = _NAME.fullmatch(entry.name)
                if match and (shard := int(match[1])) < plan.shards and _whole(entry.path):
                    standing[shard] = 1
    return array("q", (shard for shard, stands in enumerate(standing) if not stands))


def stands(out: str | os.PathLike[str], shard: int) -> bool:
    """True where the part of a shard stands, whole."""
    return _whole(os.fspath(part_path(out, shard)))


def states_of(out: str | os.PathLike[str], shard: int) -> tuple[Counter[str], int]:
    """The count of each state (`reporting.words.STATES`) in a part that stands, and the number of its duplicates."""
    pa = arrow()
    table = pa.parquet.read_table(part_path(out, shard), columns=["state", "label", "inconclusive"])
    states: Counter[str] = Counter()
    for row in table.to_pylist():
        failed = row["state"] == FAILED or row["label"] is None
        states["failed" if failed else "inconclusive" if row["inconclusive"] else row["label"]] += 1
    duplicates = sum(state == DUPLICATE for state in table.column("state").to_pylist())
    states["failed"] -= duplicates
    return +states, duplicates


def drop_unread(plan: Plan, out: str | os.PathLike[str]) -> int:
    """Remove the parts with an input that failed for a reason outside its file; return how many. Raises OutputError."""
    pa = arrow()
    removed = 0
    for shard in range(plan.shards):
        path = part_path(out, shard)
        if not _whole(os.fspath(path)):
            continue
        try:
            with pa.parquet.ParquetFile(path) as file:
                errors = file.read(columns=["error.code"]).column("error")
            codes = pa.compute.struct_field(errors, "code")
            if pa.compute.any(pa.compute.is_in(codes, value_set=pa.array(PASSING))).as_py():
                path.unlink()
                removed += 1
        except (pa.ArrowException, LookupError):  # no part of ours: `summarise` says so
            continue
        except OSError as error:
            raise failed(path, "part", error) from error
    return removed


def _whole(path: str) -> bool:
    """True where a file ends as Parquet does, with a footer that fits into it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        size = os.fstat(handle).st_size
        end = os.pread(handle, 8, max(0, size - 8))
        return size > 12 and end[4:] == MAGIC and int.from_bytes(end[:4], "little") <= size - 12
    except OSError:
        return False
    finally:
        os.close(handle)
