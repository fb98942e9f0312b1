"""`Source`: the folder, file or table that a reader reads.

A `Source` hands out pictures in a stable order, resolves names that stand inside untrusted files (never outside the
root), and counts what is left out and why, so that no loss is silent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pixelsleuth.data.left_out import ABSENT, LINK, OUTSIDE, LeftOut
from pixelsleuth.errors import UsageError
from pixelsleuth.pictures.formats import SUFFIXES, sniff

if TYPE_CHECKING:
    from pixelsleuth.data.tables import Row, Table

USUAL_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".bmp", ".PNG", ".JPG", ".JPEG", ".tiff", ".TIF", ".webp",
)  # fmt: skip
MOST_FOLDERS = 10_000
"""Folders whose real path is kept."""


@dataclass
class Source:
    """What one call of a reader reads: a folder (`root`), a file in it, or a table.

    With `allow_outside` names may lead out of the folder, and links to folders are followed. It is meant for sets that
    the user made, not for those of others.
    """

    root: Path
    file: Path | None = None
    table: Table | None = None
    split: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)
    splits: set[str] = field(default_factory=set)
    allow_outside: bool = False
    _real: dict[str, str] = field(default_factory=dict)

    def takes(self, split: str) -> bool:
        """True where `split` is to be read. Notes that the set has it."""
        self.splits.add(split)
        return self.split is None or self.split == split

    def rows(self) -> Iterator[Row]:
        """The rows of the table that belong to the split that is to be read."""
        assert self.table is not None, "a reader of rows is chosen for tables alone"
        return (row for row in self.table.rows() if self.takes(row.get("_split") or ""))

    def leave_out(self, reason: str, name: object = "", count: int = 1) -> None:
        """Count pictures that are not yielded; `reason` is one of a few sentences."""
        self.left_out.add(reason, str(name), count)

    def within(self, name: str, folder: Path | None = None) -> Path | None:
        """The file that `name` in a manifest or a JSON record stands for, relative to `folder` (by default the root).

        None where it leads outside that folder, by itself or by links. `folder` itself is the user's choice.
        """
        folder = folder or self.root
        if not name or "\0" in name:
            return None
        path = folder / PurePosixPath(name.replace("\\", "/"))
        if self.allow_outside:
            return path
        real, root = self._resolved(str(path)), self._folder(str(folder))
        return path if real == root or real.startswith(root.rstrip(os.sep) + os.sep) else None

    def inside(self, name: str, folder: Path | None = None) -> Path | None:
        """As `within`; a name that leads outside is counted."""
        path = self.within(name, folder)
        if path is None:
            self.leave_out(OUTSIDE, name)
        return path

    def existing(self, name: str, folder: Path | None = None) -> Path | None:
        """As `inside`; None where there is no such file, which is counted."""
        path = self.inside(name, folder)
        if path is not None and not path.is_file():
            self.leave_out(ABSENT, name)
            return None
        return path

    def _resolved(self, path: str) -> str:
        """The real path. That of each folder is looked up once, since many files share a folder."""
        folder, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        return os.path.join(self._folder(folder), name)

    def _folder(self, folder: str) -> str:
        if folder not in self._real:
            if len(self._real) > MOST_FOLDERS:
                self._real.clear()
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder]

    def pictures(self, folder: Path, *, deep: bool = True) -> Iterator[Path]:
        """The picture files of a folder (`pictures`); links to folders that are not followed are counted."""
        return pictures(folder, deep=deep, source=self)

    def places(self, *patterns: str) -> list[Path]:
        """The folders under the root that match one of the glob patterns, sorted; "." is the root itself."""
        folders: dict[Path, None] = {}
        for pattern in patterns:
            matches = [self.root] if pattern == "." else sorted(self.root.glob(str(pattern)))
            folders.update((path, None) for path in matches if path.is_dir())
        return list(folders)


def pictures(folder: Path, *, deep: bool = True, source: Source | None = None) -> Iterator[Path]:
    """The picture files of a folder, sorted by name within each folder.

    A file is a picture by its suffix (`.JPG` too) or by its first bytes (JPEG named `.png` too). Hidden names are left
    out. Links to folders are followed where `source` allows it, else counted. The names of one folder are held at a
    time. Raises UsageError where a folder may not be read.
    """
    yield from _walk(folder, deep, source or Source(folder), ())


def _walk(folder: Path, deep: bool, source: Source, above: tuple[str, ...]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be read ({error.strerror}); check its permissions."
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if deep:
                yield from _walk(Path(entry.path), deep, source, above)
        elif deep and entry.is_dir():
            real = os.path.realpath(entry.path)
            if not source.allow_outside:
                source.leave_out(LINK, entry.path)
            elif real not in above and not _holds(real, folder):  # a link to a folder above runs in circles
                yield from _walk(Path(entry.path), deep, source, (*above, real))
        elif entry.is_file():
            if _is_picture(entry):
                yield Path(entry.path)
        elif entry.is_symlink() and os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            source.leave_out(ABSENT, entry.path)


def _holds(real: str, folder: Path) -> bool:
    return f"{os.path.realpath(folder)}{os.sep}".startswith(real.rstrip(os.sep) + os.sep)


def _is_picture(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in SUFFIXES:
        return True
    if suffix in (".json", ".csv", ".txt", ".mp4", ".zip", ".parquet", ".md"):
        return False
    try:
        with open(entry.path, "rb") as file:
            return sniff(file.read(64)) is not None
    except OSError:
        return False


def picture_named(folder: Path, stem: str) -> Path | None:
    """The picture in `folder` called `stem` with any picture suffix; None where there is none."""
    paths = (folder / f"{stem}{suffix}" for suffix in USUAL_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def extras(split: str = "", **more: Any) -> dict[str, Any]:
    """`Sample.extra` without what is empty."""
    return {key: value for key, value in {"split": split, **more}.items() if value not in (None, "", [], {})}
