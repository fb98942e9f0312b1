"""The plan of a scan: every input with its number, written once as one Parquet file before anything is judged.

Input i belongs to shard i // `shard_size`. A plan is read a shard at a time, so that 10^9 inputs fit on any machine.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.io import failed, part_of
from pixelsleuth.errors import NoPictures, PlanMismatch, UsageError
from pixelsleuth.scale import duplicates
from pixelsleuth.scale.duplicates import Duplicates
from pixelsleuth.scale.listing import Entry, arrow, fields

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "plan.parquet"
SCHEMA = "pixelsleuth.plan/1"
META = b"pixelsleuth.plan"
"""Key of the settings in the file's metadata."""
KIND = "plan"
GROUP = 1 << 16
"""Rows of a row group, at most: whole shards, and what is read of the plan at a time. Plans that stand rely on it."""


@dataclass(frozen=True)
class PlanSettings:
    """What a plan was made from.

    `base` is the folder to which relative paths belong, `shard_size` the number of inputs of a shard.
    """

    source: str
    base: str
    shard_size: int
    where: str | None = None
    sample: int | None = None
    seed: int = 0
    dedup: str | None = None


def write_plan(
    out: Path, tables: Iterable[pa.Table], settings: PlanSettings, watch: Callable[[int], None]
) -> Plan:
    """Write the plan of a stream of listings (`sources.inputs`) into the folder `out`, whole or not at all.

    `watch` is called with the number of rows after each piece. Raises NoPictures where the stream is empty, OutputError
    where the plan cannot be written, and what the stream raises.
    """
    target, part = out / FILE, part_of(out / FILE)
    try:
        rows = _write(part, tables, settings, watch)
        if not rows:
            raise NoPictures(f"{settings.source} names no picture to judge.")
        os.replace(part, target)
    except OSError as error:
        raise failed(target, KIND, _numbered(error)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return Plan.open(out)


def _numbered(error: OSError) -> OSError:
    """The error with its reason alone: Arrow puts its own words around those of the system."""
    if error.errno is None:
        full = "no space left" in str(error).lower()
        return OSError(errno.ENOSPC if full else errno.EIO, os.strerror(errno.ENOSPC if full else errno.EIO))
    return OSError(error.errno, os.strerror(error.errno))


def _write(
    part: Path, tables: Iterable[pa.Table], settings: PlanSettings, watch: Callable[[int], None]
) -> int:
    """Write row groups of whole shards; return the number of rows."""
    pa = arrow()
    size = settings.shard_size
    group = size * max(1, GROUP // size)
    meta = {META: json.dumps({"schema": SCHEMA, **asdict(settings)}).encode()}
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("shard", pa.int64()), *fields()], meta)
    dictionary = ["archive", "origin"]
    rows = 0
    with pa.parquet.ParquetWriter(
        part, schema, compression="zstd", use_dictionary=dictionary, write_statistics=["id", "shard"]
    ) as writer:
        for table in _regrouped(tables, group):
            ids = pa.array(range(rows, rows + table.num_rows), pa.int64())
            shards = pa.compute.divide(ids, size)
            writer.write_table(pa.table([ids, shards, *table.columns], schema=schema), row_group_size=group)
            rows += table.num_rows
            watch(rows)
    return rows


def _regrouped(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of `size` rows, the last one shorter."""
    pa = arrow()
    held: list[Any] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        while rows >= size:
            whole = pa.concat_tables(held)
            yield whole.slice(0, size)
            rest = whole.slice(size)
            held, rows = [rest], rest.num_rows
    if rows:
        yield pa.concat_tables(held)


class Plan:
    """A plan that stands in a folder. `rows` and `shards` are its sizes, `settings` what it was made from.

    `duplicates` are set where they were asked for and found (`duplicates.write_duplicates`).
    """

    def __init__(self, file: Any, settings: PlanSettings, duplicates: Duplicates | None = None) -> None:
        self._file, self.settings, self.duplicates = file, settings, duplicates
        self.rows = int(file.metadata.num_rows)
        self.shards = -(-self.rows // settings.shard_size)
        self._group_shards = max(1, GROUP // settings.shard_size)
        self._group: tuple[int, Any] = (-1, None)

    @classmethod
    def open(cls, out: str | os.PathLike[str]) -> Plan:
        """The plan in the folder `out`. Raises PlanMismatch where the file is damaged or of another version."""
        pa = arrow()
        path = Path(out) / FILE
        try:
            file = pa.parquet.ParquetFile(path)
            kept = json.loads(file.metadata.metadata[META])
            if kept.pop("schema") != SCHEMA:
                raise ValueError("another version")
            settings = PlanSettings(**kept)
        except FileNotFoundError:
            raise UsageError(f"{out} holds no plan of a scan; begin one with `pixelsleuth scan`.") from None
        except (
            pa.ArrowException,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise PlanMismatch(
                f"{path} is no plan that this version reads ({(str(error).splitlines() or ['damaged'])[0]}); "
                "choose another --out."
            ) from error
        known = settings.dedup is not None and (Path(out) / duplicates.FILE).exists()
        return cls(file, settings, duplicates.Duplicates(out) if known else None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def size_of(self, shard: int) -> int:
        """The number of inputs of a shard."""
        return min(self.settings.shard_size, self.rows - shard * self.settings.shard_size)

    def entries(self, shard: int) -> list[Entry]:
        """The inputs of a shard, in order. Raises IndexError for a shard that the plan does not have."""
        if not 0 <= shard < self.shards:
            raise IndexError(f"the plan has {self.shards} shards, no shard {shard}")
        group, place = divmod(shard, self._group_shards)
        if self._group[0] != group:
            columns = ["id", *(field.name for field in fields())]
            self._group = (group, self._file.read_row_group(group, columns=columns))
        rows = self._group[1].slice(place * self.settings.shard_size, self.settings.shard_size).to_pylist()
        first = shard * self.settings.shard_size
        copies = {} if self.duplicates is None else self.duplicates.of(first, len(rows))
        return [Entry(**row, duplicate_of=copies.get(row["id"])) for row in rows]

    def sizes(self) -> NDArray[np.int64]:
        """(rows,) int64: the bytes of every input, -1 where the source does not say."""
        sizes = np.empty(self.rows, np.int64)
        place = 0
        for group in range(self._file.metadata.num_row_groups):
            column = self._file.read_row_group(group, columns=["size"]).column("size").fill_null(-1)
            sizes[place : place + len(column)] = column.to_numpy()
            place += len(column)
        return sizes

    def check(self, settings: PlanSettings) -> None:
        """Raise PlanMismatch where `settings` are of another scan than the planned one; the shard size may differ."""
        for name, what in (
            ("source", "SOURCE"),
            ("where", "--where"),
            ("sample", "--sample"),
            ("seed", "--seed"),
            ("dedup", "--dedup"),
        ):
            ours, theirs = getattr(self.settings, name), getattr(settings, name)
            if ours != theirs:
                raise PlanMismatch(
                    f"This folder holds the scan of another {what} ({ours!r}, now {theirs!r}); "
                    "choose another --out."
                )
