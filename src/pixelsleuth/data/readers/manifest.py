"""A manifest: a table with the columns path and label, or image (bytes) and label; CSV, JSON lines, Parquet, the hub.

`mask`, `source`, `generator`, `tamper`, `group`, `description` and `split` are used where they are there; every other
column goes to `extra`. Paths are relative to the manifest's folder and may not leave it, unless the setting `root`
names another folder or the caller allows it (`allow_outside`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pixelsleuth.core.verdict import LABELS, Label
from pixelsleuth.data.left_out import NO_PICTURE
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.reader import MARKS, ReaderSpec, Setting
from pixelsleuth.data.sample import Sample, label_named
from pixelsleuth.data.source import Source, extras
from pixelsleuth.data.tables import Row, label_text, picture_bytes, picture_name
from pixelsleuth.errors import UsageError

TEXTS = ("source", "generator", "tamper", "group", "description")
USED = {
    *TEXTS, "path", "label", "mask", "image", "file_name", "mask_file_name", "split", "_where", "_split", "_names"
}  # fmt: skip
NAMING = frozenset(("path", "image", "file_name"))
"""Columns that say which picture a row is about; one of them is there."""
NO_MASK = frozenset({"", "-", "none", "null", "nil", "nan", "na", "n/a", "negative", "no mask", "false"})
"""Texts of a mask cell, in any case, that mean "no mask": words of pandas, JSON, SQL and IMDL-BenCo."""


def read(source: Source) -> Iterator[Sample]:
    table = source.table
    if table is None or "label" not in table.columns or not NAMING & table.columns:
        raise UsageError(
            f"{source.file or source.root} lacks the column path or label: a manifest needs both."
        )
    if root := source.settings.get("root"):
        source.root = Path(root)
    for row in table.rows():
        split = _text(row["split"]) if "split" in row else str(row.get("_split") or "")
        if not source.takes(split):
            continue
        label = _label(source, row)
        data = picture_bytes(row.get("image"))
        name = _text(row.get("path")) or picture_name(row.get("image"))
        if (
            "file_name" in row and data is None
        ):  # an image folder of `datasets`: names are relative to their table
            name, row = _beside(row, "file_name"), {**row, "mask": _beside(row, "mask_file_name")}
        if data is None and not name.strip():
            source.leave_out(NO_PICTURE, row["_where"])
            continue
        path = source.inside(name) if data is None else Path(name or str(row["_where"]))
        if path is None:
            continue
        mask, fits = _mask(source, row)
        if not fits:
            continue
        texts = {key: _text(row.get(key)) for key in TEXTS}
        more = {key: value for key, value in row.items() if key not in USED}
        yield Sample(path, label, mask, **texts, data=data, extra=extras(split, **more))


def _label(source: Source, row: Row) -> Label:
    assert source.table is not None
    text = label_text(row, source.table)
    label = label_named(text)
    if label is None:
        raise UsageError(f"{row['_where']}: unknown label {text!r}; use one of {', '.join(LABELS)}.")
    return label


def _text(value: Any) -> str:
    """A cell as text; empty for null and for NaN, which pandas writes into empty cells."""
    return "" if value is None or value != value else str(value)


def _beside(row: Row, column: str) -> str:
    """The file that a cell names, relative to the root of the set; empty for an empty cell."""
    name = _text(row.get(column))
    return (PurePosixPath(row["_where"].rpartition("#")[0]).parent / name).as_posix() if name else ""


def _mask(source: Source, row: Row) -> tuple[Path | bytes | Mask | None, bool]:
    """(the mask, False where its name leads outside the root). Raises UsageError for a cell that names no file."""
    cell = row.get("mask")
    stored: Path | bytes | None = picture_bytes(cell)
    if stored is None:
        name = picture_name(cell)
        parts = cell if isinstance(cell, list) else cell.values() if isinstance(cell, dict) else ()
        if not name and any(parts):
            raise UsageError(
                f"{row['_where']}: the mask is a {type(cell).__name__}; name a file, or give its bytes."
            )
        if name.strip().lower() in NO_MASK:
            return None, True
        stored = source.inside(name)
        if stored is None:
            return None, False
    marks = Marks(source.settings.get("marks", "white"))
    return (stored if marks is Marks.WHITE else Mask(stored, marks)), True


SPECS = (
    ReaderSpec(
        name="manifest",
        title="Manifest: CSV, JSON lines or Parquet",
        read=read,
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="write a table with the columns path and label; mask, source, generator, tamper, group, description, split",
        columns=frozenset({"path", "label"}),
        settings={
            "root": Setting(
                "", "the folder that paths are relative to and may not leave (`/`: any); that of the manifest"
            ),
            "marks": MARKS,
        },
    ),
    ReaderSpec(
        name="shards",
        title="Parquet shards with the pictures inside",
        read=read,
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="write shards with the columns image (bytes) and label (names), as `datasets` does",
        columns=frozenset({"image", "label"}),
        settings={"marks": MARKS},
    ),
    ReaderSpec(
        name="exported",
        title="Parquet shards of `datasets export` and of the forge",
        read=read,
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="pixelsleuth datasets export DATA --out DIR",
        columns=frozenset(
            {"image", "label", "mask", "source", "generator", "tamper", "group", "description", "licence"}
        ),
        settings={"marks": MARKS},
    ),
    ReaderSpec(
        name="imagefolder",
        title="Image folder of `datasets` with a metadata table",
        read=read,
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="pixelsleuth datasets export DATA --out DIR --format imagefolder",
        columns=frozenset({"file_name", "label"}),
        settings={"marks": MARKS},
    ),
)
