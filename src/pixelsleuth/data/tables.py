"""Tables: rows of CSV, JSON lines, Parquet shards and hub data sets, streamed, never a whole table in memory.

A `Table` knows its columns and, where the file holds them, the names behind integer labels; labels are read by name
only. Parquet is read by pyarrow, the hub by `datasets`; both give the same rows.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pixelsleuth.errors import MissingExtra, UsageError

Row = dict[str, Any]
"""The cells of one row. `_where` names it (shard and row number), `_split` is its part of the set ("" unknown),
`_names` are the names of the integer labels in its shard."""

MAX_LINE = 16 << 20  # bytes of one line of JSON
MAX_CELL = 1 << 20  # characters of one cell of CSV
MAX_ROW_GROUP = 4 << 30  # bytes; So-Fake-OOD's row groups have 97 MB
BATCH = 16
_SHARD = re.compile(r"^(?P<split>.+?)[-_.]\d{3,6}(-of-\d{3,6})?$")


@dataclass(frozen=True)
class Table:
    """Columns, the rows, and the names of integer labels by column ({"label": ["real", ...]})."""

    columns: frozenset[str]
    rows: Callable[[], Iterator[Row]]
    names: Mapping[str, list[str]] = field(default_factory=dict)
    splits: frozenset[str] = frozenset()
    unreadable: list[str] = field(default_factory=list)


def open_table(path: Path, split: str | None = None) -> Table:
    """The table in a CSV, JSON lines, JSON or Parquet file, or in the Parquet shards under a folder.

    Shards whose names name another split than `split` are not read.
    """
    if path.is_dir():
        return parquet(sorted(path.rglob("*.parquet")), path, split)
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return parquet([path], path.parent, split)
    if suffix == ".json":
        return json_list(path)
    return json_lines(path) if suffix in (".jsonl", ".ndjson") else comma_separated(path)


def json_list(path: Path) -> Table:
    """The objects of a JSON array, one at a time."""
    from pixelsleuth.data import big_json

    def read() -> Iterator[Row]:
        for number, row in enumerate(big_json.items(path)):
            if not isinstance(row, dict):
                raise UsageError(f"{path}, item {number} is no JSON object; name a list of objects.")
            yield {**row, "_where": f"{path.name}[{number}]"}

    return Table(frozenset(next(read(), {})) - {"_where"}, read)


def comma_separated(path: Path) -> Table:
    """A CSV file with a header line; UTF-8, with or without a byte-order mark."""

    def read() -> Iterator[Row]:
        try:
            with path.open(newline="", encoding="utf-8-sig") as handle:
                csv.field_size_limit(MAX_CELL)
                for number, row in enumerate(csv.DictReader(handle), 2):
                    if any(cell.strip() for cell in row.pop(None, None) or ()):  # cells beyond the header
                        raise UsageError(
                            f"{path}, line {number} has more cells than the header; put texts with commas into quotes."
                        )
                    yield {**row, "_where": f"{path.name}:{number}"}
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is no CSV text in UTF-8 ({error}); save it again.") from None

    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            header = next(csv.reader([handle.readline(MAX_CELL)]), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no CSV text in UTF-8 ({error}); save it again.") from None
    return Table(frozenset(header), read)


def json_lines(path: Path) -> Table:
    """One JSON object a line."""

    def read() -> Iterator[Row]:
        with path.open("rb") as handle:
            number = 0
            while line := handle.readline(MAX_LINE + 1):
                number += 1
                if not line.strip():
                    continue
                try:
                    row = json.loads(line) if len(line) <= MAX_LINE else None
                except (ValueError, RecursionError):
                    row = None
                if not isinstance(row, dict):
                    raise UsageError(f"{path}, line {number} is no JSON object; write one object a line.")
                yield {**row, "_where": f"{path.name}:{number}"}

    first = next(read(), {})
    return Table(frozenset(first) - {"_where"}, read)


def parquet(shards: list[Path], root: Path, split: str | None = None) -> Table:
    """The rows of Parquet shards in order of name; a shard that cannot be read is named in `unreadable`."""
    pq = _import("pyarrow.parquet")
    columns: frozenset[str] | None = None
    names: Mapping[str, list[str]] = {}
    unreadable: list[str] = []
    for shard in shards:
        try:
            schema = pq.read_schema(shard)
        except Exception:  # whatever a damaged footer makes pyarrow raise
            continue
        columns, names = frozenset(schema.names), _class_names(schema.metadata or {})
        break

    whole = columns is not None and "split" in columns  # each row names its own split
    splits = {shard: "" if whole else split_of(shard) for shard in shards}

    def read() -> Iterator[Row]:
        return rows_of_shards(splits, root, split, partial(_shard_rows, pq), unreadable)

    if columns is None:
        raise UsageError(f"{root} holds no Parquet shard that can be read; download it again.")
    return Table(columns, read, names, frozenset(splits.values()) - {""}, unreadable)


def split_of(shard: Path) -> str:
    """The split in a shard's name (`train-00000-of-00002`); empty where it names none."""
    match = _SHARD.match(shard.stem)
    return match["split"] if match else ""


def rows_of_shards(
    shards: Mapping[Path, str],
    root: Path,
    split: str | None,
    rows: Callable[[Path, str], Iterator[Row]],
    unreadable: list[str],
    broken: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> Iterator[Row]:
    """What `rows(shard, name)` yields for every shard that may hold `split`; `shards` maps each file to its own split.

    A shard that raises one of `broken` is named in `unreadable`, and the next one is read.
    """
    unreadable.clear()
    for shard, own_split in shards.items():
        if split is not None and own_split not in ("", split):
            continue
        where = shard.relative_to(root).as_posix()
        try:
            for row in rows(shard, where):
                yield {**row, "_split": own_split}
        except UsageError:
            raise
        except broken as error:
            unreadable.append(f"{where} ({' '.join(str(error).split())[:120]})")


def _shard_rows(pq: Any, shard: Path, where: str) -> Iterator[Row]:
    with pq.ParquetFile(shard, buffer_size=1 << 20, pre_buffer=False) as file:
        groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
        if max(groups, default=0) > MAX_ROW_GROUP:
            raise UsageError(
                f"{shard} has row groups of more than {MAX_ROW_GROUP >> 30} GiB; write it with smaller ones."
            )
        number, names = 0, _class_names(file.schema_arrow.metadata or {})
        for batch in file.iter_batches(batch_size=BATCH):
            for row in batch.to_pylist():
                yield {**row, "_where": f"{where}#{number}", "_names": names}
                number += 1


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The names of ClassLabel columns, as the `datasets` library writes them into the schema."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        labels = {key: feature for key, feature in features.items() if feature.get("_type") == "ClassLabel"}
        return {key: [str(name) for name in feature["names"]] for key, feature in labels.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def hub(name: str, split: str | None = None) -> Table:
    """A data set of the hub (`owner/name`, `owner/name@revision`), or a local folder of shards, through `datasets`
    streaming. Raises UsageError where it cannot be reached. Pictures stay undecoded bytes.
    """
    library = _import("datasets")
    place, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
    try:
        parts = library.load_dataset(place, streaming=True, revision=revision or None)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        way = "name its files or write a manifest" if place == name and Path(name).is_dir() else (
            "check the name, your access, the network"
        )  # fmt: skip
        raise UsageError(f"The data set {name!r} cannot be opened ({reason}); {way}.") from error
    streams = {str(key): _undecoded(library, part) for key, part in parts.items()}
    features = dict(next(iter(streams.values())).features or {})
    names = {
        part: {key: list(feature.names) for key, feature in (stream.features or {}).items()
               if isinstance(feature, library.ClassLabel)}
        for part, stream in streams.items()
    }  # fmt: skip

    def read() -> Iterator[Row]:
        for part, stream in streams.items():
            if split is not None and part != split:
                continue
            rows, number = iter(stream), 0
            while (row := _next_of(rows, f"{name} in {part} after row {number}")) is not None:
                yield {**row, "_where": f"{name}/{part}#{number}", "_split": part, "_names": names[part]}
                number += 1

    return Table(frozenset(features), read, next(iter(names.values())), frozenset(streams))


def _next_of(rows: Iterator[Row], where: str) -> Row | None:
    """The next row of a stream over the network, None at its end; UsageError where the stream breaks off."""
    try:
        return next(rows, None)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"The stream broke off: {where} ({reason}); run it again.") from error


def _undecoded(library: Any, stream: Any) -> Any:
    if stream.features is None:
        stream = stream._resolve_features()
    for key, feature in (stream.features or {}).items():
        if isinstance(feature, library.Image):
            stream = stream.cast_column(key, library.Image(decode=False))
    return stream


def _import(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(module.partition(".")[0], "data") from error


def picture_bytes(cell: Any) -> bytes | None:
    """The bytes of a picture cell: {"bytes", "path"} as `datasets` writes it, or bytes; None where it is empty or only
    a link.
    """
    if isinstance(cell, dict):
        cell = cell.get("bytes")
    return cell if isinstance(cell, bytes) and cell else None


def picture_name(cell: Any) -> str:
    """The file name in a cell: a text, or {"bytes": None, "path"} as `datasets` writes links; empty where there is
    none.
    """
    if isinstance(cell, dict) and not cell.get("bytes"):
        cell = cell.get("path")
    return cell if isinstance(cell, str) else ""


def names_of(row: Row, table: Table | None) -> Mapping[str, list[str]]:
    """The names of integer labels that hold for a row: those of its shard, where shards carry some, or of the table."""
    names: Mapping[str, list[str]] = row.get("_names", table.names if table is not None else {})
    return names


def label_text(row: Row, table: Table | None, column: str = "label") -> str:
    """The label of a row as a name: the text in its cell, or the name of its integer.

    Raises UsageError for an integer without names: the order of the labels differs between versions of the same set.
    """
    value = row.get(column)
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        return value
    names = names_of(row, table).get(column)
    if names is None:
        raise UsageError(
            f"{row.get('_where', 'The table')} has the label {value!r} without names, and versions of this set number "
            "their labels differently; use files that keep the label names (ClassLabel), or write the names in."
        )
    index = int(value) if value is not None else -1
    if not 0 <= index < len(names):
        raise UsageError(
            f"{row.get('_where', 'The table')} has the label {value!r}, which is none of {names}."
        )
    return names[index]
