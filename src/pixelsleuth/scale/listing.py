"""Inputs of a scan as Arrow tables: a source lists them in pieces, so that no number of inputs fills the memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pixelsleuth.errors import MissingExtra

if TYPE_CHECKING:
    import pyarrow as pa

PIECE = 1 << 12
"""Rows of a table that a source gives at a time; before, they are Python's texts, which take more memory than there."""
ESCAPED = "file:"
"""What the stored form of a file name begins with whose bytes are no UTF-8: the rest is percent-encoded."""


@dataclass(frozen=True)
class Entry:
    """One input of a plan.

    `location` is a path or an address, for a member of an archive `ARCHIVE::MEMBER`; `size` its bytes, None where the
    source does not say. A member lies at byte `offset` of `archive`. `origin` is what the column `source` of a manifest
    says: where the picture comes from. `duplicate_of` is the id of the input that is judged in place of this one.
    """

    id: int
    location: str
    size: int | None = None
    archive: str | None = None
    offset: int | None = None
    origin: str | None = None
    duplicate_of: int | None = None


def arrow() -> Any:
    """The module pyarrow, with its parts `compute` and `parquet`. Raises MissingExtra where it is not installed."""
    # Read when it is imported: its own pool keeps four times what a plan takes, as long as the process lives.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "scale") from None
    import pyarrow

    return pyarrow


def fields() -> list[Any]:
    """The columns of a listing, in order."""
    pa = arrow()
    return [
        pa.field("location", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("archive", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("origin", pa.string()),
    ]


def listing(
    locations: Any, *, sizes: Any = None, archives: Any = None, offsets: Any = None, origins: Any = None
) -> pa.Table:
    """A table of inputs out of its columns (lists or Arrow arrays); a column that is left out is null."""
    pa = arrow()
    columns = []
    for field, values in zip(fields(), (locations, sizes, archives, offsets, origins), strict=True):
        if values is None:
            columns.append(pa.nulls(len(locations), field.type))
        elif isinstance(values, list):
            columns.append(pa.array(values, field.type))
        else:
            columns.append(values.cast(field.type))
    return pa.table(columns, schema=pa.schema(fields()))


def pieces(files: Iterable[tuple[str, int | None]]) -> Iterator[pa.Table]:
    """Tables of (location, size) pairs."""
    stream = iter(files)
    while piece := list(islice(stream, PIECE)):
        yield listing([location for location, _ in piece], sizes=[size for _, size in piece])


def stored(path: str | bytes) -> str:
    r"""A path as plans hold it: as it is, or percent-encoded where its bytes are no UTF-8.

    >>> stored(b"caf\xe9.jpg"), stored("photo.jpg")
    ('file:caf%E9.jpg', 'photo.jpg')
    """
    raw = os.fsencode(path)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ESCAPED + quote_from_bytes(raw)
    return ESCAPED + quote_from_bytes(raw) if text.startswith(ESCAPED) else text


def path_of(location: str) -> str:
    r"""The path that `stored` made a location of.

    >>> path_of("file:caf%E9.jpg"), path_of("photo.jpg")
    ('caf\udce9.jpg', 'photo.jpg')
    """
    if location.startswith(ESCAPED):
        return os.fsdecode(unquote_to_bytes(location.removeprefix(ESCAPED)))
    return location
