"""Writes files whole or not at all, and reads JSON lines; `core.outputs` builds the outputs of commands on it.

A file is made under a hidden name beside its place (`.report.html.part`) and moved there when it is complete. It is
locked while it is written: what a killed run left behind is not locked, and is used again or removed. Only the standard
library is needed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pixelsleuth.errors import OutputError, OutputInUse, UsageError

if sys.platform != "win32":  # no advisory locks there: two runs on one name are not noticed
    import fcntl

LONGEST_NAME = 200
"""Bytes of a file name of which the hidden name still fits into the 255 that file systems allow."""
SHOWN_START = 2048
"""Bytes of an existing file in which it must say who wrote it."""
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_OPEN: int = os.O_RDWR | os.O_CREAT | _NOFOLLOW | getattr(os, "O_BINARY", 0)
NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)
"""Errors of a file system that cannot sync."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
"""Errors of a disk that takes no more."""


def write_bytes(
    path: str | os.PathLike[str], data: bytes, *, kind: str = "file", ours: re.Pattern[bytes] | None = None
) -> None:
    """Write a file whole or not at all; raise OutputError where that fails.

    `ours` matches how files of this kind begin: another file of that name is not replaced. Leave it out where the name
    can only be the command's own (a mask, a file of its folder).
    """
    target = Path(os.path.realpath(path)) if ours is not None else Path(path)
    if ours is not None:
        refuse_foreign(Path(path), target, ours, kind)
    part = part_of(target)
    try:
        with os.fdopen(open_locked(part, wait=True), "wb", buffering=0) as stream:
            try:
                os.ftruncate(stream.fileno(), 0)
                write_at(stream.fileno(), data, 0)
                settle(stream.close, part, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise failed(Path(path), kind, error) from error


def write_text(
    path: str | os.PathLike[str], text: str, *, kind: str = "file", ours: re.Pattern[bytes] | None = None
) -> None:
    """`write_bytes` for text, in UTF-8."""
    write_bytes(path, text.encode("utf-8"), kind=kind, ours=ours)


def write_json(path: str | os.PathLike[str], value: Any, *, kind: str = "file") -> None:
    """`write_bytes` for a value as indented JSON. NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n", kind=kind)


def read_json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, value) of a file of ours; a last line that a killed run cut off is left out.

    Raises UsageError where a whole line is no JSON. For untrusted files see `data.readers`.
    """
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError:
                    raise UsageError(f"{path}, line {number}, is no JSON: remove that line.") from None


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, 64 hex digits. Raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """Yield a hidden neighbour of `target`, a file or a folder to be made; it takes the place of `target` at the end.

    A folder of that name goes first. Where the block fails, what was made is removed and `target` stays as it was.
    """
    part = part_of(target)
    _remove(part)  # of a killed run
    try:
        yield part
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(part)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path, pattern: str) -> int:
    """Remove what killed runs left in `folder`, files `.NAME.part` and `.NAME.xyz.part`, and return how many.

    `pattern` is a regular expression for NAME. What a live run still writes is locked, and stays.
    """
    removed = 0
    leftover = re.compile(rf"\.(?:{pattern})\.(?:.+\.)?part", re.DOTALL)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if leftover.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                removed += _swept(entry.path)
    return removed


def _swept(path: str) -> bool:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | _NOFOLLOW)
        try:
            lock(handle, wait=False)
            os.unlink(path)
            return True
        finally:
            os.close(handle)
    return False


def refuse_foreign(path: Path, target: Path, ours: re.Pattern[bytes], kind: str) -> None:
    """Raise OutputError where `target` exists and is not a writable file that begins as `ours` says."""
    try:
        if not target.exists():
            return
        if target.is_dir():
            raise OutputError(f"{path} is a folder; give the {kind} a file name in it.")
        if not target.is_file():
            raise OutputError(f"{path} is not a regular file; give the {kind} another name.")
        with target.open("rb") as stream:
            start = stream.read(SHOWN_START)
        writable = os.access(target, os.W_OK)
    except OSError as error:
        raise failed(path, kind, error) from error
    if not writable:
        raise OutputError(f"{path} is write-protected; give the {kind} another name.")
    if start.strip() and not ours.match(start):
        raise OutputError(
            f"{path} exists and is no {kind} of PixelSleuth's, so it was not overwritten; choose another name."
        )


def failed(path: Path, kind: str, error: OSError) -> OutputError:
    """The error for a `path` that cannot be written: why, and what to do."""
    if isinstance(error, BlockingIOError):
        return OutputInUse(f"Another run is writing the {kind} {path}; wait for it or choose another name.")
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        why, then = f": the folder {path.parent} does not exist", "create it first"
    elif isinstance(error, NotADirectoryError):
        why, then = f": {path.parent} is no folder", "choose another place"
    else:
        why, then = f" ({(error.strerror or str(error)).lower()})", "make room or choose another place"
    return OutputError(f"The {kind} {path} cannot be written{why}; {then}.")


def part_of(target: Path) -> Path:
    """The hidden name under which `target` is made; always the same, so that a rerun reuses what a killed run left.

    >>> part_of(Path("out/report.html")).name
    '.report.html.part'
    """
    name = target.name
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
    return target.with_name(f".{name}.part")


def whole_lines(handle: int) -> int:
    """Bytes of an open file up to and with its last line end."""
    end = os.fstat(handle).st_size
    while end:
        step = min(1 << 16, end)
        os.lseek(handle, end - step, os.SEEK_SET)
        place = os.read(handle, step).rfind(b"\n")
        if place >= 0:
            return end - step + place + 1
        end -= step
    return 0


def open_locked(path: Path, *, wait: bool) -> int:
    """A descriptor of `path`, made where it is missing, and locked. A link is removed, not followed.

    Raises BlockingIOError where another run holds it and `wait` is False, else OSError.
    """
    while True:
        if path.is_symlink():
            path.unlink()
        handle = os.open(path, _OPEN, 0o666)
        try:
            lock(handle, wait=wait)
            # Another run may have moved or removed the file between its opening and its locking.
            here = os.fstat(handle)
            try:
                there = os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def lock(handle: int, *, wait: bool) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks: written without them


def settle(close: Callable[[], object], part: Path, target: Path) -> None:
    """Move the part into its place and close it; where the system allows, it is locked until it is moved."""
    if os.name == "nt":
        close()
        os.replace(part, target)
    else:
        os.replace(part, target)
        close()


def write_at(handle: int, data: bytes, place: int) -> None:
    """Write all of `data` at byte `place` of an open file. Raises OSError; part of it may then be there."""
    os.lseek(handle, place, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def append_at(handle: int, data: bytes, end: int) -> int:
    """Write `data` at byte `end`, where an open file ends, whole or not at all; returns the new end. Raises OSError."""
    try:
        write_at(handle, data, end)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, end)
        raise
    return end + len(data)
