"""Files that a command writes: found writable before the work begins, whole or not there at all, never over
evidence.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pixelsleuth.core.errors import OutputError

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict


class AtomicFile:
    """A text file that appears under its name only when `commit` is called; until then it is a hidden
    neighbour.

    Raises OutputError at once where the folder is missing or not writable, or where `path` names something
    that this command did not write: a folder, a device, a picture.
    """

    def __init__(self, path: str | os.PathLike[str], *, ours: re.Pattern[bytes], kind: str) -> None:
        self.path = Path(path)
        self.kind = kind
        target = Path(os.path.realpath(self.path))  # a link is followed, not replaced
        _refuse_foreign(self.path, target, ours, kind)
        try:
            handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
        except OSError as error:
            raise OutputError(_sentence(self.path, kind, error)) from error
        self._target, self._part = target, Path(name)
        self.stream: IO[str] = os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n")

    def write(self, text: str) -> None:
        """Append text; raises OutputError where the disk is full."""
        try:
            self.stream.write(text)
        except OSError as error:
            raise OutputError(_sentence(self.path, self.kind, error)) from error

    def commit(self) -> None:
        """Put the file in its place, with the permissions that a new file of this user has."""
        try:
            self.stream.close()
            os.chmod(self._part, 0o666 & ~_umask())
            os.replace(self._part, self._target)
        except OSError as error:
            self.discard()
            raise OutputError(_sentence(self.path, self.kind, error)) from error

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # the disk may be full; the part is removed next
            self.stream.close()
        self._part.unlink(missing_ok=True)


def _refuse_foreign(path: Path, target: Path, ours: re.Pattern[bytes], kind: str) -> None:
    try:
        if not target.exists():
            return
        if target.is_dir():
            raise OutputError(f"{path} is a folder; give the {kind} a file name in it.")
        if not target.is_file():
            raise OutputError(f"{path} is not a regular file; give the {kind} another name.")
        with target.open("rb") as stream:
            start = stream.read(1024)
        writable = os.access(target, os.W_OK)
    except OSError as error:
        raise OutputError(_sentence(path, kind, error)) from error
    if not writable:
        raise OutputError(f"{path} is write-protected; give the {kind} another name.")
    if start.strip() and not ours.match(start):
        raise OutputError(f"{path} exists and is no {kind}, so it was not overwritten; choose another name.")


def _sentence(path: Path, kind: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return (
            f"The {kind} {path} cannot be written: the folder {path.parent} does not exist; create it first."
        )
    if isinstance(error, NotADirectoryError):
        return f"The {kind} {path} cannot be written: {path.parent} is no folder; choose another place."
    reason = (error.strerror or str(error)).lower()
    return f"The {kind} {path} cannot be written ({reason}); choose another place."


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def open_output(path: str | os.PathLike[str]) -> IO[str]:
    """Open `path` for records that are flushed one by one, so that an interrupted run leaves what it has
    done.

    Raises OutputError where that is impossible, or where `path` holds something other than text (a
    photograph, say).
    """
    target = Path(os.path.realpath(path))
    _refuse_foreign(Path(path), target, _TEXT, "text file")
    try:
        return target.open("w", encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise OutputError(_sentence(Path(path), "output file", error)) from error


_TEXT = re.compile(rb"[^\x00]*\Z")


class MaskFolder:
    """Writes masks as PNG (0 untouched, 255 tampered, the size of the upright picture) into one folder.

    A file is called `<stem>-<start of the picture's SHA-256>.mask.png`: two pictures of one name do not
    collide, the same picture twice gives one file, and no name leads out of the folder. Raises OutputError
    where the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.written = 0
        try:
            self.folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except FileExistsError as error:
            raise OutputError(f"{folder} is a file; --save-masks needs a folder.") from error
        except OSError as error:
            raise OutputError(_sentence(self.folder, "mask folder", error)) from error

    def save(self, verdict: Verdict) -> str | None:
        """Write the mask of a tampered picture and return its path; None where there is none to write."""
        if str(verdict.label) != "tampered" or verdict.mask is None:
            return None
        from PIL import Image

        path = self.folder / mask_name(verdict.source, verdict.sha256 or "")
        part = path.with_name(f".{path.name}.part")
        try:
            part.unlink(missing_ok=True)  # never write through a link that someone left there
            Image.fromarray(verdict.mask.astype("uint8") * 255).save(part, "PNG", optimize=False)
            os.replace(part, path)
        except OSError as error:
            raise OutputError(_sentence(path, "mask", error)) from error
        self.written += 1
        return str(path)


def mask_name(source: str, sha256: str) -> str:
    r"""A file name for the mask of `source`: letters, digits, dot, dash and underscore only, at most 100
    characters.

    >>> mask_name("../../etc/passwd.jpg", "0123456789abcdef")
    'passwd-0123456789ab.mask.png'
    >>> mask_name("..", ""), mask_name("C:\\photos\\a b.png", "ff" * 32)
    ('picture.mask.png', 'a_b-ffffffffffff.mask.png')
    """
    stem = Path(re.split(r"[/\\]", source)[-1]).stem
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._")[:60] or "picture"
    return f"{safe}-{sha256[:12]}.mask.png" if sha256 else f"{safe}.mask.png"
