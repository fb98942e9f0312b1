"""WebDataset: tar files in which neighbouring members of one name make a sample, read as a table of rows.

`0001.jpg`, `0001.json` and `0001.mask.png` are one row: the picture is `image`, the keys of the JSON object are
columns, and a second picture is named by what stands between the first dot and its suffix (`mask.png`). Members are
streamed one after the other; nothing is unpacked to disk. Source: the format's own description,
github.com/webdataset/webdataset.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pixelsleuth.data.tables import MAX_CELL, MAX_LINE, Row, Table, rows_of_shards, split_of
from pixelsleuth.errors import UsageError
from pixelsleuth.pictures.files import MAX_FILE_BYTES
from pixelsleuth.pictures.formats import SUFFIXES

SUFFIX = ".tar"
READER = "shards"
"""The reader of these columns; sets that share some of them are not published in this form."""
LOOKED_AT = 50
"""Rows from which the columns are known."""
MASKS = ("mask", "seg", "segmentation")
TEXTS = {"cls": "label", "label": "label", "txt": "description", "caption": "description"}
"""Columns of members that hold a text."""


def shards_in(folder: Path) -> list[Path]:
    """The tar files under a folder, in order of name."""
    return sorted(path for path in folder.rglob(f"*{SUFFIX}") if path.is_file())


def open_shards(shards: list[Path], root: Path, split: str | None = None) -> Table:
    """The rows of WebDataset's tar files in order of name; one that breaks off is named in `unreadable`.

    Raises UsageError where the first rows hold no picture with a label: then it is an archive of another kind.
    """
    unreadable: list[str] = []
    splits = {shard: split_of(shard) for shard in shards}

    def read() -> Iterator[Row]:
        return rows_of_shards(splits, root, split, _rows, unreadable, (tarfile.TarError, OSError, EOFError))

    columns = _columns(read())
    if not {"image", "label"} <= columns:
        raise UsageError(
            f"{shards[0]} is a tar file, but no WebDataset with a picture and its label (KEY.jpg, and KEY.json with "
            "label, or KEY.cls); unpack it and name the folder."
        )
    return Table(frozenset(columns), read, {}, frozenset(splits.values()) - {""}, unreadable)


def _columns(rows: Iterable[Row]) -> set[str]:
    return {key for row in islice(rows, LOOKED_AT) for key in row if not key.startswith("_")}


def _rows(shard: Path, where: str) -> Iterator[Row]:
    """The samples of one tar file, each a row."""
    key = ""
    row: Row = {}
    with tarfile.open(shard, "r:") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else every header is kept
            path = PurePosixPath(member.name)
            stem, _, extension = path.name.partition(".")
            if not member.isfile() or not stem or not extension:
                continue
            name = str(path.parent / stem)
            if name != key:
                if row:
                    yield row
                key, row = name, {"_where": f"{where}#{name}"}
            _take(row, extension.lower(), member, archive)
        if row:
            yield row


def _take(row: Row, extension: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
    """Put what one member holds into the row."""
    kind = f".{extension.rpartition('.')[2]}"
    picture = kind in SUFFIXES
    largest = MAX_FILE_BYTES if picture else MAX_LINE if extension == "json" else MAX_CELL
    if not picture and extension != "json" and extension not in TEXTS:
        return
    if member.size > largest:
        raise UsageError(f"{row['_where']}: {member.name} has {member.size >> 20} MiB, more than is read.")
    stream = archive.extractfile(member)
    data = stream.read() if stream is not None else b""
    if picture:
        column = extension.rpartition(".")[0]
        column = "mask" if column in MASKS else column or "image"
        if column in row:
            raise UsageError(
                f"{row['_where']} has two pictures without a name ({member.name} is one); call a mask KEY.mask.png."
            )
        row[column] = data
    elif extension == "json":
        row.update(_object(data, str(row["_where"]), row))
    else:
        row.setdefault(TEXTS[extension], _decoded(data, str(row["_where"])).strip())


def _object(data: bytes, where: str, taken: Row) -> dict[str, Any]:
    """The columns in a JSON member, less those that are taken already."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"{where}: the member .json holds no JSON object.")
    return {key: cell for key, cell in value.items() if not key.startswith("_") and key not in taken}


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{where} has a text that is not UTF-8; write it again.") from None
