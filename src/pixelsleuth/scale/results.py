"""The rows of a scan that stand in its folder, part by part: what `summarise` counts, shows and exports.

A part is read where it is whole, of this scan and of its model; any other is left out with a sentence. Nothing in a
part is trusted: sizes are checked before anything is read, values before they are counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.verdict import SCHEMA
from pixelsleuth.errors import UsageError
from pixelsleuth.reporting.words import printable
from pixelsleuth.scale.listing import arrow
from pixelsleuth.scale.parts import FOLDER, part_path
from pixelsleuth.scale.plan import Plan
from pixelsleuth.scale.rows import HEATMAP, META_MODEL, META_SCHEMA, schema
from pixelsleuth.scale.scanning import JUDGED_BY

if TYPE_CHECKING:
    from pixelsleuth.scale.listing import Entry

LARGEST_PART = 1 << 30
"""Bytes of a part's columns after decompression; those of a scan have a few kilobytes a row."""
LARGEST_FOOTER_TEXT = 1 << 24
"""Bytes of one text in a part's footer."""
BATCH = 256
"""Whole rows in memory at a time; a row can hold a long mask."""
MOST_SAID = 20
"""Parts that are left out with a sentence each; of the others only the number is kept."""


class BadPartError(ValueError):
    """A file in the place of a part that cannot be counted; the message is the reason."""


class Results:
    """The parts of the scan in `folder`; `problems` has a sentence for each part that was left out.

    `source` is what was judged, `base` the folder of relative paths, `planned` the number of inputs; `timed` says
    whether rows have a time. Raises UsageError where the folder holds no scan, or none that has begun to judge.
    """

    timed = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.plan = Plan.open(folder)
        self.settings = self._judged_by()
        self.source, self.base = self.plan.settings.source, self.plan.settings.base
        self.planned = self.plan.rows
        self.model: dict[str, str] = self.settings["model"]
        self.problems: list[str] = []
        self._bad: dict[str, None] = {}
        self._noted: dict[str, None] = {}
        whole = schema()
        before = whole.remove(whole.get_field_index(HEATMAP))  # scans had no such column at first
        self._schemas = (whole, before)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.plan.close()

    @property
    def left_out(self) -> int:
        """The number of files that were left out, wholly or in part."""
        return len(self._noted)

    def tables(self, columns: Sequence[str]) -> Iterator[tuple[Path, Any]]:
        """Yield each part with these columns as a table. The caller may `leave_out` one for what it holds."""
        for path, shard in self._parts():
            try:
                with self._opened(path, shard) as file:
                    table = file.read(columns=list(columns), use_threads=False)
                    self._check_ids(table["id"], shard)
            except self._errors() as error:
                self.leave_out(path, error)
                continue
            yield path, table

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Path, Any]]:
        """Yield the rows of every part in batches of at most BATCH rows; a part may be found damaged halfway."""
        for path, shard in self._parts():
            try:
                with self._opened(path, shard) as file:
                    yield from (
                        (path, batch)
                        for batch in file.iter_batches(BATCH, columns=list(columns), use_threads=False)
                    )
            except self._errors() as error:
                self._note(path, "is left out from a damaged place on", error)

    def rows(self, ids: Sequence[int]) -> Iterator[tuple[dict[str, Any], Entry]]:
        """Yield the whole rows of these inputs with their entries in the plan, in this order; those that stand."""
        size = self.plan.settings.shard_size
        for number in ids:
            shard, place = divmod(number, size)
            path = part_path(self.folder, shard)
            try:
                with self._opened(path, shard) as file:
                    row = _row(file, place)
                    entry = self.plan.entries(shard)[place]
            except self._errors() as error:
                self.leave_out(path, error)
                continue
            yield row, entry

    def leave_out(self, path: Path, error: BaseException) -> None:
        """Note that a part is not counted: it is skipped from now on."""
        self._bad[str(path)] = None
        self._note(path, "is left out", error)

    def leave_out_row(self, path: Path, row: int, error: BaseException) -> None:
        """Note that a row of a part does not stand in an output; only the first of a part is spoken of."""
        self._note(path, f"is damaged in row {row}, which is left out", error)

    def remark(self, sentence: str) -> None:
        """Note what else an output lacks."""
        self._noted[sentence] = None
        self.problems.append(sentence)

    def _note(self, path: Path, what: str, error: BaseException) -> None:
        if str(path) in self._noted:
            return
        self._noted[str(path)] = None
        if len(self.problems) < MOST_SAID:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            self.problems.append(f"{printable(path)} {what}: {printable(reason)}.")

    def _parts(self) -> Iterator[tuple[Path, int]]:
        """The files of the folder of parts that were not left out, in order, with their shards."""
        for folder in _sorted(self.folder / FOLDER):
            for path in _sorted(folder) if folder.is_dir() else [folder]:
                if (
                    path.name.startswith(".") or str(path) in self._bad
                ):  # a scan may be writing the hidden ones
                    continue
                digits = path.stem.removeprefix("part-")
                shard = int(digits) if digits.isdecimal() and len(digits) < 19 else -1
                if shard < 0 or path != part_path(self.folder, shard) or shard >= self.plan.shards:
                    self.leave_out(path, BadPartError("it is no part of this scan"))
                elif not path.is_file():
                    self.leave_out(path, BadPartError("it is no file"))
                else:
                    yield path, shard

    def _opened(self, path: Path, shard: int) -> Any:
        """A part as an open Parquet file. Raises BadPartError."""
        pa = arrow()
        file = pa.parquet.ParquetFile(path, pre_buffer=False, thrift_string_size_limit=LARGEST_FOOTER_TEXT)
        try:
            meta = file.metadata
            texts = meta.metadata or {}
            if texts.get(META_SCHEMA) != SCHEMA.encode() or file.schema_arrow not in self._schemas:
                raise BadPartError("its columns are not those of a scan of this version")
            if json.loads(texts.get(META_MODEL, b"null")) != self.model:
                raise BadPartError("another model judged it")
            if meta.num_rows != self.plan.size_of(shard):
                raise BadPartError(f"it has {meta.num_rows} rows, {self.plan.size_of(shard)} in the plan")
            if (
                sum(meta.row_group(group).total_byte_size for group in range(meta.num_row_groups))
                > LARGEST_PART
            ):
                raise BadPartError("it is too large")
        except BaseException:
            file.close()
            raise
        return file

    def _check_ids(self, ids: Any, shard: int) -> None:
        """Raise BadPartError where the ids are not those of the shard, each once and in order."""
        import numpy as np

        first = shard * self.plan.settings.shard_size
        if ids.null_count or not np.array_equal(ids.to_numpy(), np.arange(first, first + len(ids))):
            raise BadPartError("its rows are not those of its shard")

    def _judged_by(self) -> dict[str, Any]:
        try:
            settings = json.loads((self.folder / JUDGED_BY).read_text(encoding="utf-8"))
            model = settings["model"]
            if not all(isinstance(text, str) for pair in model.items() for text in pair):
                raise ValueError("no model")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.plan.close()
            raise UsageError(
                f"{self.folder} holds a plan and no results yet; go on with `pixelsleuth scan --resume`."
            ) from None
        return dict(settings)

    @staticmethod
    def _errors() -> tuple[type[BaseException], ...]:
        return (arrow().ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError)


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _row(file: Any, place: int) -> dict[str, Any]:
    """Row `place` of a part. Raises IndexError."""
    for batch in file.iter_batches(BATCH, use_threads=False):
        if place < batch.num_rows:
            row: dict[str, Any] = batch.slice(place, 1).to_pylist()[0]
            return row
        place -= batch.num_rows
    raise IndexError("it has too few rows")
