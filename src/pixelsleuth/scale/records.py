"""The records that `check --format jsonl` wrote, read as the rows of a scan, so that `summarise` takes both.

Nothing in the file is trusted: a line is bounded, and one that is no verdict is left out with a sentence. A picture has
no time, no source of a manifest and no number of its own: its id is the number of its line, from 0 on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.verdict import LABELS, SCHEMA
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.scale import remote
from pixelsleuth.scale.listing import Entry, arrow, stored
from pixelsleuth.scale.results import BATCH, BadPartError, Results
from pixelsleuth.scale.rows import FAILED, HEATMAP, JUDGED, TEXTS, schema
from pixelsleuth.scale.summary import COLUMNS

if TYPE_CHECKING:
    pass

LARGEST_LINE = 1 << 26
"""Bytes of a record; one with a mask of noise over 100 megapixels has about half as many."""
TABLE = 4096
"""Records that are counted at once."""
SMALL = tuple(name.partition(".")[0] for name in COLUMNS)
"""Columns without long values, which `tables` returns."""


class Records(Results):
    """The records in the file `path`, whose first one names the model.

    Raises UsageError where it is no file of verdict records.
    """

    timed = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = Path(path)
        self.settings, self.base, self.source = {}, os.getcwd(), os.fspath(path)
        self.problems, self._bad, self._noted = [], {}, {}
        self._schema = schema()
        self.model, self.planned = self._first()

    def __exit__(self, *_: object) -> None:
        pass

    def tables(self, columns: Sequence[str]) -> Iterator[tuple[Path, Any]]:
        """Yield the records in tables of the columns SMALL."""
        names = self._schema.names
        small = arrow().schema([self._schema.field(name) for name in SMALL if name in names])
        rows = self._rows(masks=False)
        while some := list(islice(rows, TABLE)):
            yield self.folder, arrow().Table.from_pylist(some, schema=small)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Path, Any]]:
        """Yield the records in batches of at most BATCH rows, masks as run lengths."""
        rows = self._rows(masks="mask" in columns)
        while some := list(islice(rows, BATCH)):
            batch = arrow().RecordBatch.from_pylist(some, schema=self._schema)
            yield self.folder, batch.select(list(columns))

    def rows(self, ids: Sequence[int]) -> Iterator[tuple[dict[str, Any], Entry]]:
        """Yield the rows of these ids, in this order; a picture that only a network has is not looked for."""
        wanted = set(ids)
        kept = {row["id"]: row for row in self._rows(masks=True, only=wanted)}
        for number in ids:
            if (row := kept.get(number)) is not None:
                location = "" if remote.is_address(row["source"]) else stored(row["source"])
                yield (
                    row,
                    Entry(id=number, location=location, size=None, archive=None, offset=None, origin=None),
                )

    def _first(self) -> tuple[dict[str, str], int]:
        """The model of the first record, and the number of lines."""
        model, lines = None, 0
        try:
            for number, line in self._lines():
                lines += 1
                if model is None:
                    model = _record(line)["model"] if number == 0 else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            model = None
        if model is None:
            raise UsageError(
                f"{self.folder} holds no verdict records; name the folder of a scan, or a file that "
                "`pixelsleuth check --format jsonl` wrote."
            )
        return {key: str(value) for key, value in model.items() if isinstance(value, str)}, lines

    def _rows(self, *, masks: bool, only: set[int] | None = None) -> Iterator[dict[str, Any]]:
        """The row of every record that is one; with `masks` also of its mask, read where it is a file."""
        for number, line in self._lines():
            if only is not None and number not in only:
                continue
            try:
                row = self._row(number, _record(line), masks=masks)
                whole = arrow().RecordBatch.from_pylist([row], schema=self._schema).to_pylist()[0]
            except (
                arrow().ArrowException,
                ValueError,
                LookupError,
                TypeError,
                AttributeError,
                RecursionError,
            ) as error:
                self.leave_out_row(self.folder, number, error)
                continue
            yield whole

    def _row(self, number: int, record: dict[str, Any], *, masks: bool) -> dict[str, Any]:
        row = {name: record.get(name) for name in self._schema.names}
        row |= {name: None if row[name] is None else json.dumps(row[name]) for name in TEXTS}
        row |= {"id": number, "state": JUDGED if record["error"] is None else FAILED}
        row |= {"duplicate_of": None, "origin": None, "judged_at": None, HEATMAP: None}
        row["metadata"] = list((row["metadata"] or {}).items())
        if record["error"] is None:
            _ensure_judged(record)
        row["mask"] = self._mask(number, record) if masks else None
        return row

    def _mask(self, number: int, record: dict[str, Any]) -> dict[str, Any] | None:
        """The mask as run lengths; None where its file is gone, which is noted."""
        mask = record["mask"]
        if mask is None or "rle" in mask:
            return mask if mask is None else {"rle": mask["rle"], "area": mask["area"]}
        from pixelsleuth.core.rle import encode, read_mask

        for folder in (None, self.folder.parent):
            try:
                pixels = read_mask(record, folder)
            except PictureError as error:
                reason = error
                continue
            return None if pixels is None else {"rle": encode(pixels), "area": int(pixels.sum())}
        self._note(self.folder, f"lacks the mask of line {number + 1}, which is left out", reason)
        return None

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(its number, the line) of every line that is not empty; one that is too long is cut."""
        number = 0
        with self.folder.open("rb") as stream:
            while line := stream.readline(LARGEST_LINE):
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = stream.readline(LARGEST_LINE)
                if line.strip():
                    yield number, line
                number += 1


def _record(line: bytes) -> dict[str, Any]:
    """The verdict record of a line. Raises ValueError."""
    record = json.loads(line)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BadPartError(f"it is no record of schema {SCHEMA}")
    return record


def _ensure_judged(record: dict[str, Any]) -> None:
    """Raise BadPartError where a judged picture has a label or a probability that no verdict has."""
    shares = [record["confidence"], *(record["probabilities"][label] for label in map(str, LABELS))]
    if record["label"] not in map(str, LABELS):
        raise BadPartError("its label is none of ours")
    if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in shares):
        raise BadPartError("it holds probabilities outside 0 to 1")
    if min(record["width"], record["height"]) < 1 or not isinstance(record["source"], str):
        raise BadPartError("it names no picture")
