"""Manifests: a Parquet, CSV or JSON lines file with a row an input. Its other columns serve `--where`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import SourceError
from pixelsleuth.scale.listing import PIECE, arrow, listing, stored

if TYPE_CHECKING:
    import pyarrow as pa

    from pixelsleuth.scale.where import Condition

SUFFIXES = (".parquet", ".pq", ".csv", ".jsonl", ".ndjson")
NAMES = ("path", "location", "url")
"""Columns that name an input; the first that a manifest has counts."""
SIZE, ORIGIN = "size", "source"
BLOCK = 4 << 20
"""Bytes of a text manifest that are parsed at a time; a row must fit into them."""


def manifest(path: str, stream: Any, condition: Condition | None = None) -> Iterator[pa.Table]:
    """The inputs that a manifest names, those for which `condition` holds.

    Needs a column `path` (or `location`, `url`), relative to the manifest's folder; takes a column `size` (bytes) and a
    column `source`. `stream` is the open file, a path or an Arrow file. Raises SourceError for what is no such table.
    """
    pa = arrow()
    folder = os.path.dirname(path)
    try:
        for batch in _batches(path, stream, condition):
            table = pa.Table.from_batches([batch])
            names = table.schema.names
            if condition is not None:
                condition.check(names)
                table = condition.of(table)
            if table.num_rows:
                yield _listed(path, folder, table)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if (
            isinstance(error, OSError)
            and error.errno is not None
            and not isinstance(error, pa.ArrowException)
        ):
            reason = (error.strerror or str(error)).lower()
        else:
            reason = (str(error).splitlines() or ["damaged"])[0]
        raise SourceError(f"The manifest {path} cannot be read ({reason}); check the file.") from error


def _batches(path: str, stream: Any, condition: Condition | None) -> Iterator[pa.RecordBatch]:
    arrow()
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        with pq.ParquetFile(stream) as file:
            names = file.schema_arrow.names
            wanted = {_location(path, names), SIZE, ORIGIN}
            if condition is not None:
                condition.check(names)
                wanted |= set(condition.columns)
            yield from file.iter_batches(PIECE, columns=[name for name in names if name in wanted])
    elif suffix == ".csv":
        import pyarrow as pa
        import pyarrow.csv as pcsv

        # Names and origins are texts, also where a column holds digits alone.
        types = dict.fromkeys((*NAMES, ORIGIN), pa.string())
        yield from pcsv.open_csv(
            stream,
            read_options=pcsv.ReadOptions(block_size=BLOCK),
            parse_options=pcsv.ParseOptions(newlines_in_values=True),
            convert_options=pcsv.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
    else:
        import pyarrow.json as pjson

        yield from pjson.open_json(stream, read_options=pjson.ReadOptions(block_size=BLOCK))


def _location(path: str, names: list[str]) -> str:
    for name in NAMES:
        if name in names:
            return name
    raise SourceError(
        f"The manifest {path} has no column {', '.join(NAMES[:-1])} or {NAMES[-1]}; it has "
        f"{', '.join(names[:20]) or 'none'}."
    )


def _listed(path: str, folder: str, table: pa.Table) -> pa.Table:
    pa = arrow()
    names = table.schema.names
    column = table.column(_location(path, names))
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        raise SourceError(f"The paths of the manifest {path} are no texts, but {column.type}.")
    if column.null_count:
        raise SourceError(f"The manifest {path} has a row without a path; remove it, or use --where.")
    locations = _placed(folder, column.cast(pa.string()))
    sizes = (
        table.column(SIZE) if SIZE in names and pa.types.is_integer(table.schema.field(SIZE).type) else None
    )
    origins = table.column(ORIGIN) if ORIGIN in names else None
    return listing(locations, sizes=sizes, origins=origins)


def _placed(folder: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Locations as they are read: relative ones below the manifest's folder."""
    import pyarrow.compute as pc

    pa = arrow()
    escaped = pc.starts_with(column, "file:")
    if pc.any(escaped).as_py():
        column = pa.chunked_array([pa.array([stored(text) for text in column.to_pylist()])])
    if not folder:
        return column
    whole = pc.or_(pc.starts_with(column, "/"), pc.match_substring_regex(column, "^[A-Za-z][A-Za-z0-9+.-]*:"))
    prefix = folder if folder.endswith("/") else f"{folder}/"
    joined = pc.binary_join_element_wise(pa.scalar(prefix), column, pa.scalar(""))
    return pc.if_else(whole, column, joined)
