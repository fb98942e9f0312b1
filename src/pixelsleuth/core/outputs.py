"""The outputs of commands: a file that appears whole, a file that grows by records, a folder of several files.

A second run on the same name is refused. A full disk costs only the last record. Files of others are not replaced.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pixelsleuth.core.io import (
    NO_ROOM,
    NO_SYNC,
    failed,
    lock,
    open_locked,
    part_of,
    refuse_foreign,
    settle,
    sweep,
    whole_lines,
    write_at,
)
from pixelsleuth.errors import OutputError


class AtomicFile:
    """A text file that appears under its name when `commit` is called; until then it is a hidden neighbour.

    `ours` matches how files of this kind begin. Raises OutputError at once where the folder is missing or not writable,
    where another run writes the same file, or where `path` is anything else (a folder, a device, a picture, notes).
    """

    def __init__(self, path: str | os.PathLike[str], *, ours: re.Pattern[bytes], kind: str) -> None:
        self.path, self.kind = Path(path), kind
        self._target = Path(os.path.realpath(self.path))  # a link is followed, not replaced
        refuse_foreign(self.path, self._target, ours, kind)
        self._part = part_of(self._target)
        try:
            sweep(self._target.parent, re.escape(self._target.name[:40]))
            handle = open_locked(self._part, wait=False)
            os.ftruncate(handle, 0)
        except OSError as error:
            raise failed(self.path, kind, error) from error
        self.stream: IO[str] = os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n")

    def write(self, text: str) -> None:
        """Append text; raises OutputError where the disk is full."""
        try:
            self.stream.write(text)
        except OSError as error:
            raise failed(self.path, self.kind, error) from error

    def commit(self) -> None:
        """Put the file in its place, with the permissions that a new file of this user has."""
        try:
            self.stream.flush()
            os.fsync(self.stream.fileno())
            settle(self.stream.close, self._part, self._target)
        except OSError as error:
            self.discard()
            raise failed(self.path, self.kind, error) from error

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # the disk may be full; the part is removed next
            self.stream.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


class RecordFile(io.TextIOBase):
    """A file that grows by whole records and can be read at any moment, also after a kill or on a full disk.

    `commit` writes at once what `write` collected; where that fails, the file ends with the record before. With `keep`
    the whole lines of an existing file stay, without a last line that was cut off; else the first commit replaces it.
    Raises OutputError as `AtomicFile` does.
    """

    encoding = "utf-8"

    def __init__(
        self, path: str | os.PathLike[str], *, ours: re.Pattern[bytes], kind: str, keep: bool = False
    ) -> None:
        self.path, self.kind = Path(path), kind
        self._pending: list[str] = []
        self._tail = b""
        self._begun = False
        self._handle: int | None = None
        target = Path(os.path.realpath(self.path))
        refuse_foreign(self.path, target, ours, kind)
        self._target, self._made = target, not target.exists()
        try:
            self._handle = open_locked(target, wait=False)
            self.end = whole_lines(self._handle) if keep else 0
        except OSError as error:
            self._release()
            raise failed(self.path, kind, error) from error

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        """Keep text for the next `commit`."""
        self._pending.append(text)
        return len(text)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(where it begins, the line without its end) of every whole line that is kept."""
        place = 0
        with self._target.open("rb") as stream:
            for line in stream:
                if place + len(line) > self.end:
                    return
                yield place, line.rstrip(b"\r\n")
                place += len(line)

    def commit(self, tail: str = "") -> None:
        """Append what was written, then `tail`, the end of a JSON array, in whose place the next record goes.

        Raises OutputError; the file then ends with the record before.
        """
        if self._handle is None:
            return
        data, last = "".join(self._pending).encode("utf-8", "replace"), tail.encode()
        self._pending.clear()
        try:
            if not self._begun:
                # Only now: a run that fails before its first record leaves what was there.
                os.ftruncate(self._handle, self.end)
                self._begun = True
            write_at(self._handle, data + last, self.end)
        except BaseException as error:  # an interruption, too, must leave whole records
            self._cut()
            if isinstance(error, OSError):
                raise failed(self.path, self.kind, error) from error
            raise
        self.end, self._tail = self.end + len(data), last

    def keep_only(self, places: set[int]) -> None:
        """Drop every line that does not begin at one of `places`; the file is replaced by a copy of the others."""
        part = part_of(self._target)
        try:
            handle = open_locked(part, wait=False)
            try:
                os.ftruncate(handle, 0)
                end = 0
                for place, line in self.lines():
                    if place in places:
                        write_at(handle, line + b"\n", end)
                        end += len(line) + 1
                os.fsync(handle)
                os.replace(part, self._target)
            except BaseException:
                part.unlink(missing_ok=True)
                os.close(handle)
                raise
        except OSError as error:
            raise failed(self.path, self.kind, error) from error
        self._release()
        self._handle, self.end = handle, end

    def close(self) -> None:
        """End the file. Raises OutputError where the system reports a failed write only now."""
        try:
            if self._handle is not None and self._begun:
                os.fsync(self._handle)
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise failed(self.path, self.kind, error) from error
        finally:
            self._release()
            super().close()

    def discard(self) -> None:
        """Give up: where nothing was written yet, a new file is removed and an older one stays as it was."""
        if self._handle is not None and self._made and not self._begun:
            with contextlib.suppress(OSError):
                self._target.unlink(missing_ok=True)
        self._release()

    def _cut(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self.end)
                write_at(self._handle, self._tail, self.end)

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextlib.contextmanager
def whole_folder(
    out: str | os.PathLike[str], *, kind: str, ours: str, never: Path | None = None
) -> Iterator[Path]:
    """Yield a hidden folder beside `out`; its files are moved to `out` where the block succeeds, else it is removed.

    Raises OutputError where `out` is a file, is `never` (what the files are made from), holds files but none called
    `ours`, cannot be written, or is being filled by another run.
    """
    target = Path(os.path.realpath(out))
    part = part_of(target)
    refuse_folder(out, kind=kind, ours=ours, never=never)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(exist_ok=True)
        handle = _locked_folder(part)
    except OSError as error:
        raise failed(Path(out), kind, error) from error
    try:
        for old in part.iterdir():
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        yield part
        for made in sorted(part.rglob("*")):
            if made.is_file():
                place = target / made.relative_to(part)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(made, place)
    except OSError as error:
        # The block may read as well; only what a disk says of writing is about this folder.
        if error.errno not in NO_ROOM and not str(error.filename or "").startswith(str(part)):
            raise
        raise failed(Path(out), kind, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _locked_folder(folder: Path) -> int | None:
    """A descriptor of a folder that holds its lock; None where folders cannot be opened. Raises OSError."""
    if sys.platform == "win32":
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle, wait=False)
    except OSError:
        os.close(handle)
        raise
    return handle


def refuse_folder(out: str | os.PathLike[str], *, kind: str, ours: str, never: Path | None = None) -> None:
    """Raise OutputError where `whole_folder` would refuse `out`: to be called before hours of work."""
    target, out = Path(os.path.realpath(out)), Path(out)
    try:
        if never is not None and target == Path(os.path.realpath(never)):
            raise OutputError(f"{out} is what the {kind} is made from; choose another --out.")
        if target.exists() and not target.is_dir():
            raise OutputError(f"{out} is a file; the {kind} needs a folder.")
        if target.is_dir() and any(target.iterdir()) and not (target / ours).is_file():
            raise OutputError(f"{out} holds other files and no {kind}; choose a new folder with --out.")
    except OSError as error:
        raise failed(out, kind, error) from error
