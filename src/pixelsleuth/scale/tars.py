"""Members of tar files (WebDataset): found by their headers, read at their place without unpacking."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

from pixelsleuth.errors import PictureChanged, SourceError
from pixelsleuth.pictures.formats import SUFFIXES, UNREAD_SUFFIXES
from pixelsleuth.scale.listing import PIECE, listing, stored

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Archives whose members have no place that can be read alone."""
LARGEST_HEADER = 1 << 20
"""Bytes of one long name or extended header; a hostile one could ask for all memory."""
JOINT = "::"
"""Stands between an archive and its member in a location."""
log = logging.getLogger("pixelsleuth")


class _Bounded:
    """A file from which headers are read: never more than LARGEST_HEADER bytes at a time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


def members(path: str, stream: IO[bytes] | None = None) -> Iterator[pa.Table]:
    """The pictures in a tar file, by their names; a cut or damaged file gives its first members and a row for itself.

    That row becomes an error when it is judged. `stream` is the open file where it is not a local one.
    """
    if stream is not None:
        yield from _members(path, stream)
        return
    try:
        with open(path, "rb") as local:
            yield from _members(path, local)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SourceError(f"The archive {path} cannot be read ({reason}); check the path.") from error


def _members(path: str, stream: IO[bytes]) -> Iterator[pa.Table]:
    archive = stored(path)
    names: list[str] = []
    sizes: list[int] = []
    offsets: list[int] = []
    damaged = False

    def table() -> pa.Table:
        return listing(
            names.copy(), sizes=sizes.copy(), archives=[archive] * len(names), offsets=offsets.copy()
        )

    for member in _headers(stream):
        if member is None:
            damaged = True
            continue
        names.append(f"{archive}{JOINT}{stored(member.name)}")
        sizes.append(member.size)
        offsets.append(member.offset_data)
        if len(names) == PIECE:
            yield table()
            for column in (names, sizes, offsets):
                cast("list[Any]", column).clear()
    if names:
        yield table()
    if damaged:
        log.warning("%s is cut short or damaged; what comes before the damage is judged", path)
        yield listing([archive])


def _headers(stream: IO[bytes]) -> Iterator[tarfile.TarInfo | None]:
    """The headers of pictures; None at the end of a file that is damaged."""
    end = stream.seek(0, 2)
    stream.seek(0)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Bounded(stream)), mode="r:") as archive:
            while (member := archive.next()) is not None:
                cast("Any", archive).members.clear()  # the library keeps every header otherwise
                if not 0 <= member.size <= end - member.offset_data:
                    yield None
                    return
                if member.isreg() and _named_as_picture(member.name):
                    yield member
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError):
        yield None


def _named_as_picture(name: str) -> bool:
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    return not path.name.startswith(".") and (suffix in SUFFIXES or suffix in UNREAD_SUFFIXES)


def member_bytes(stream: IO[bytes], offset: int, size: int, spoken: str) -> bytes:
    """The bytes of a member. Raises PictureChanged where no member of that size lies there any more."""
    changed = PictureChanged(f"{spoken} is no longer where the plan found it; scan the archive again.")
    if offset < tarfile.BLOCKSIZE:
        raise changed
    stream.seek(offset - tarfile.BLOCKSIZE)
    block = stream.read(tarfile.BLOCKSIZE)
    try:
        header = tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        raise changed from None
    data = stream.read(size)
    if header.size != size or len(data) != size:
        raise changed
    return data
