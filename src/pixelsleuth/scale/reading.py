"""The bytes of an input, wherever it lies: a file, a member of an archive, an object of a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pixelsleuth.errors import PictureChanged, PictureNotFound, PixelSleuthError
from pixelsleuth.pictures.files import MAX_FILE_BYTES, file_too_large, read_file
from pixelsleuth.scale import remote, tars
from pixelsleuth.scale.listing import path_of

if TYPE_CHECKING:
    from pixelsleuth.scale.listing import Entry


def read(entry: Entry, base: str) -> bytes | bytearray:
    """The bytes of an input; relative paths are those of the folder `base`.

    Raises PictureError for what is gone, cannot be read, has too many bytes, or has other than the plan says.
    """
    if entry.size is not None and entry.size > MAX_FILE_BYTES:
        raise file_too_large(path_of(entry.location), entry.size)
    if entry.archive is not None:
        return _member(entry, base)
    name = path_of(entry.location)
    if remote.is_address(entry.location):
        data: bytes | bytearray = _object(entry.location)
    else:
        data = read_file(os.path.join(base, name), name)
    if entry.size is not None and len(data) != entry.size:
        raise PictureChanged(
            f"{name} has {len(data)} bytes, {entry.size} when the scan was planned; scan it again."
        )
    return data


def _object(address: str) -> bytes:
    try:
        with remote.opened(address) as stream:
            data: bytes = stream.read(MAX_FILE_BYTES + 1)
    except Exception as error:  # each store has errors of its own
        raise _unread(address, error) from error
    if len(data) > MAX_FILE_BYTES:
        raise file_too_large(address, len(data))
    return data


def _member(entry: Entry, base: str) -> bytes:
    assert entry.archive is not None
    name = path_of(entry.location)
    try:
        if remote.is_address(entry.archive):
            with remote.opened(entry.archive) as stream:
                return tars.member_bytes(stream, entry.offset or 0, entry.size or 0, name)
        with open(os.path.join(base, path_of(entry.archive)), "rb") as file:
            return tars.member_bytes(file, entry.offset or 0, entry.size or 0, name)
    except PixelSleuthError:
        raise
    except Exception as error:
        raise _unread(name, error) from error


def _unread(name: str, error: BaseException) -> PictureNotFound:
    reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return PictureNotFound(f"{name} cannot be read ({reason}); check that it is there and may be read.")
