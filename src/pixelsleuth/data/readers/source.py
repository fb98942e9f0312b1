"""`Source`: what a reader gets to read from, and `ReaderSpec`: what is known of a reader without importing it.

A `Source` hands out pictures in a stable order, resolves names that stand inside untrusted files (never outside the
root), and counts what is left out and why, so that no loss is silent.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.formats import SUFFIXES, sniff

if TYPE_CHECKING:
    from pixelsleuth.data.readers.tables import Table

OUTSIDE = "path outside the folder of the set"
ABSENT = "picture file that is not there"


@dataclass(frozen=True)
class Setting:
    """A choice that the reference leaves open: its default, what may be said (empty: any text), what it means."""

    default: str
    meaning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReaderSpec:
    """What is known of a data set.

    `reader` is "module:function" under this package; the function takes a `Source` and yields samples. A folder is of
    this layout where every pattern of one of `folders` matches something in it; a table where it has all `columns`.
    `expects` maps a split (or "" for the whole) to the number of pictures that the publisher states. `masked` promises
    a mask with every tampered picture.
    """

    name: str
    title: str
    reader: str
    licence: str
    size: str
    classes: str
    get: str
    folders: tuple[tuple[str, ...], ...] = ()
    columns: frozenset[str] = frozenset()
    hubs: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    expects: Mapping[str, int] = field(default_factory=dict)
    masked: bool = False


@dataclass
class Source:
    """What one call of a reader reads: a folder (`root`), a file in it, or a table."""

    root: Path
    file: Path | None = None
    table: Table | None = None
    split: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    splits: set[str] = field(default_factory=set)

    def wanted(self, split: str) -> bool:
        """Note that the set has this split; True where it is asked for."""
        self.splits.add(split)
        return self.split is None or self.split == split

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Count pictures that are not yielded; `reason` is one of few, so that the count stays small."""
        self.left_out[reason] += count

    def inside(self, name: str, folder: Path | None = None) -> Path | None:
        """The file that an untrusted `name` (in a manifest, a JSON record) stands for, relative to `folder` (the root);
        None, and counted, where it leads outside that folder. `folder` itself is the user's choice.
        """
        folder = folder or self.root
        pure = PurePosixPath(name.replace("\\", "/"))
        if not name or "\0" in name or pure.is_absolute() or ".." in pure.parts:
            self.leave_out(OUTSIDE)
            return None
        path = folder / pure
        real, root = os.path.realpath(path), _real(str(folder))
        if real != root and not real.startswith(root.rstrip(os.sep) + os.sep):
            self.leave_out(OUTSIDE)
            return None
        return path

    def existing(self, name: str, folder: Path | None = None) -> Path | None:
        """As `inside`, and None, counted, where there is no such file."""
        path = self.inside(name, folder)
        if path is not None and not path.is_file():
            self.leave_out(ABSENT)
            return None
        return path

    def places(self, *patterns: str) -> list[Path]:
        """The folders under the root that match one of the glob patterns, sorted; "." is the root itself."""
        found: dict[Path, None] = {}
        for pattern in patterns:
            matches = [self.root] if pattern == "." else sorted(self.root.glob(str(pattern)))
            found.update((path, None) for path in matches if path.is_dir())
        return list(found)


@functools.lru_cache(maxsize=8)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def pictures(folder: Path, *, deep: bool = True) -> Iterator[Path]:
    """The picture files of a folder, sorted by name within each folder whatever order the disk keeps them in.

    A file counts by its suffix in any case, or by how its content begins: `.JPG` and JPEG bytes named `.png` are
    pictures as well. Hidden names are left out, links to folders are not followed. Names of one folder are held at a
    time.
    """
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if deep:
                yield from pictures(Path(entry.path))
        elif entry.is_file() and _is_picture(entry):
            yield Path(entry.path)


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


def beside(folder: Path, stem: str) -> Path | None:
    """The picture in `folder` called `stem` with any picture suffix; None where there is none."""
    for suffix in (
        ".png",
        ".jpg",
        ".jpeg",
        ".tif",
        ".bmp",
        ".PNG",
        ".JPG",
        ".JPEG",
        ".tiff",
        ".TIF",
        ".webp",
    ):
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return path
    return None


def extras(split: str = "", **more: Any) -> dict[str, Any]:
    """`Sample.extra` without what is empty."""
    return {key: value for key, value in {"split": split, **more}.items() if value not in (None, "", [], {})}
