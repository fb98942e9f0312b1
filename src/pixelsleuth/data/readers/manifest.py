"""A manifest: a table with the columns path and label, or image (bytes) and label; CSV, JSON lines, Parquet, the hub.

`mask`, `source`, `generator`, `tamper`, `group`, `description` and `split` are used where they are there; every other
column goes to `extra`. Paths are relative to the manifest's folder and may not leave it (setting `root`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.core.errors import UsageError
from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.readers.source import Source, extras
from pixelsleuth.data.readers.tables import Row, label_text, picture_bytes
from pixelsleuth.data.sample import LABELS, Sample, label_named

TEXTS = ("source", "generator", "tamper", "group", "description")
USED = {*TEXTS, "path", "label", "mask", "image", "split", "_where", "_split"}


def read(source: Source) -> Iterator[Sample]:
    table = source.table
    if table is None or "label" not in table.columns or not {"path", "image"} & table.columns:
        raise UsageError(
            f"{source.file or source.root} lacks the column path or label: a manifest needs both."
        )
    if root := source.settings.get("root"):
        source.root = Path(root)
    for row in table.rows():
        split = str(row["split"] or "") if "split" in row else str(row.get("_split") or "")
        if not source.wanted(split):
            continue
        label = _label(source, row)
        data = picture_bytes(row.get("image"))
        if data is None and not row.get("path"):
            source.leave_out("row without a picture")
            continue
        path = (
            source.inside(str(row["path"])) if data is None else Path(str(row.get("path") or row["_where"]))
        )
        mask, fits = _mask(source, row.get("mask"))
        if path is None or not fits:
            continue
        texts = {key: str(row.get(key) or "") for key in TEXTS}
        more = {key: value for key, value in row.items() if key not in USED}
        yield Sample(path, label, mask, **texts, data=data, extra=extras(split, **more))


def _label(source: Source, row: Row) -> Label:
    assert source.table is not None
    text = label_text(row, source.table)
    label = label_named(text)
    if label is None:
        raise UsageError(f"{row['_where']}: unknown label {text!r}; use one of {', '.join(LABELS)}.")
    return label


def _mask(source: Source, cell: Any) -> tuple[Path | bytes | Mask | None, bool]:
    """(the mask, False where its name leads outside the root)."""
    stored: Path | bytes | None = picture_bytes(cell)
    if stored is None and isinstance(cell, str) and cell:
        stored = source.inside(cell)
        if stored is None:
            return None, False
    marks = Marks(source.settings.get("marks", "white"))
    return (stored if marks is Marks.WHITE or stored is None else Mask(stored, marks)), True
