"""Sources of paths: a folder tree, and a list with a path a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pixelsleuth.errors import SourceError
from pixelsleuth.pictures.files import looks_like_picture
from pixelsleuth.pictures.formats import SUFFIXES, UNREAD_SUFFIXES
from pixelsleuth.scale import tars
from pixelsleuth.scale.listing import PIECE, listing, pieces, stored

if TYPE_CHECKING:
    import pyarrow as pa

RUN = 1 << 16
"""Names of a folder that are sorted together."""
LONGEST_LINE = 1 << 16
"""Bytes of a path in a list."""


def tree(folder: str) -> Iterator[pa.Table]:
    """The pictures below a folder, those that `check` would find, and the members of its tar files.

    A folder is sorted by name, a very large one in runs of 65,536 names; links to folders are not followed.
    """
    pending: list[tuple[str, int | None]] = []
    for path, size in _files(folder):
        if not path.endswith(tars.SUFFIX):
            pending.append((stored(path), size))
        if path.endswith(tars.SUFFIX) or len(pending) == PIECE:
            yield from pieces(pending)  # in the order of the folder
            pending = []
        if path.endswith(tars.SUFFIX):
            yield from tars.members(path)
    yield from pieces(pending)


def _files(root: str) -> Iterator[tuple[str, int | None]]:
    """(path, bytes) of every picture and tar file, a folder's files before those of the folders in it."""
    folders = [root]
    while folders:
        folder = folders.pop()
        below: list[str] = []
        try:
            entries = os.scandir(folder)
        except OSError as error:
            if folder == root:
                reason = (error.strerror or str(error)).lower()
                raise SourceError(f"{root} cannot be listed ({reason}); check the folder.") from error
            continue  # as `check`: what may not be listed holds no picture
        with entries:
            while run := sorted(islice(entries, RUN), key=lambda entry: entry.name):
                for entry in run:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
                    elif not entry.is_dir() and _wanted(entry):
                        yield entry.path, _size(entry)
        folders += sorted(below, reverse=True)


def _wanted(entry: os.DirEntry[str]) -> bool:
    suffix = Path(entry.name).suffix.lower()
    known = suffix in SUFFIXES or suffix in UNREAD_SUFFIXES or suffix == tars.SUFFIX
    return known or looks_like_picture(entry.path)


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat().st_size
    except OSError:
        return None  # a broken link, or gone again: its row will say so


def paths(path: str) -> Iterator[pa.Table]:
    """The inputs of a list: a path or an address a line, or separated by NUL; their sizes are not asked for."""
    try:
        with open(path, "rb") as stream:
            separator = b"\0" if b"\0" in stream.peek(LONGEST_LINE)[:LONGEST_LINE] else b"\n"
            lines = _separated(stream, separator)
            while piece := list(islice(lines, PIECE)):
                yield listing(piece)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SourceError(f"The list {path} cannot be read ({reason}); check the path.") from error


def _separated(stream: IO[bytes], separator: bytes) -> Iterator[str]:
    rest = b""
    while data := stream.read(LONGEST_LINE):
        *lines, rest = (rest + data).split(separator)
        if len(rest) > LONGEST_LINE:
            raise SourceError(
                f"A line of the list has more than {LONGEST_LINE} bytes; give a path a line, in a text file."
            )
        yield from (stored(line) for line in map(bytes.strip, lines) if line)
    if rest.strip():
        yield stored(rest.strip())
