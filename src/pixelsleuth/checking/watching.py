"""`check --watch`: the pictures that arrive in folders, one after another, each once it has settled.

The system's own notices (inotify and its kin, through watchfiles) say where something happened. What is there is then
read from the disk: a notice never decides that a file is new, whole or still there. Notices can be lost (a full queue,
another computer on a network disk, a name that is not UTF-8), so that the folders are listed again now and then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.checking.resume import sha256_of
from pixelsleuth.errors import UsageError
from pixelsleuth.pictures.files import counts_as_picture, pictures_in

if TYPE_CHECKING:
    from watchfiles.main import FileChange

SETTLED_SECONDS = 2.0
"""A file is whole when size and times have not changed for so long."""
TICK_MILLISECONDS = 250
RELIST_SECONDS = 30.0
"""Between two listings of the folders; longer where they take long."""
Stamp = tuple[int, int, int]
"""Size in bytes, time of the last change in nanoseconds, number of the file on its disk."""


class Arrivals:
    """Iterates over the paths of pictures in `folders`: those that are there, then those that arrive; ends at Ctrl-C.

    `ours` are files and folders that the run itself writes; they are left out. So are hidden names, and links that lead
    out of the folders. `idle` is called a few times a second while nothing is ready. Raises UsageError where a folder
    is none, disappears or cannot be watched.
    """

    def __init__(
        self, folders: Sequence[str], *, ours: Sequence[str] = (), idle: Callable[[], None] = lambda: None
    ) -> None:
        self.folders = [folder for folder in folders if self._ensure_folder(folder)]
        self.idle = idle
        self._roots = [Path(os.path.realpath(folder)) for folder in folders]
        self._ours = [Path(os.path.realpath(path)) for path in ours]
        self._known: dict[str, tuple[Stamp, str]] = {}
        self._waiting: dict[str, tuple[Stamp, float]] = {}
        self._changes = self._watch()
        self._relist_at = time.monotonic() + RELIST_SECONDS

    def listed(self) -> list[str]:
        """The pictures that are there, sorted; what arrives after this call is not missed."""
        next(self._changes)
        return [path for folder in self.folders for path in pictures_in(folder) if self._is_inside(path)]

    def after(self, listed: Sequence[str], todo: Sequence[str]) -> Iterator[str]:
        """Yield the pictures of `todo`, then those that arrive; `listed` less `todo` has been judged before."""
        for path in set(listed) - set(todo):
            stamp = _stamp(path)
            if stamp is not None:
                self._known[path] = stamp, sha256_of(path)
        self._notice(todo, quiet_since=True)
        try:
            while True:
                yield from self._settled()
                changes = next(self._changes)
                self._notice(sorted(self._as_named(path) for _, path in changes))
                if time.monotonic() >= self._relist_at:
                    self._relist()
                self.idle()
        except KeyboardInterrupt:
            return
        finally:
            self._changes.close()

    def _watch(self) -> Generator[set[FileChange]]:
        """Yield sets of changes, empty ones where nothing happens. Raises UsageError."""
        from watchfiles import watch

        try:
            yield from watch(
                *self.folders,
                watch_filter=None,
                debounce=2 * TICK_MILLISECONDS,
                rust_timeout=TICK_MILLISECONDS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
        except (OSError, RuntimeError) as error:
            raise UsageError(
                f"{', '.join(self.folders)} cannot be watched ({error}); on Linux the limit may be "
                "fs.inotify.max_user_watches."
            ) from None

    def _notice(self, paths: Iterable[str], *, quiet_since: bool = False) -> None:
        """Let the files at `paths`, and those in folders at them, wait until they settle.

        With `quiet_since` a file counts as settled from the time of its last change on.
        """
        now, wall = time.monotonic(), time.time()
        for path in paths:
            if os.path.isdir(path) and not os.path.islink(
                path
            ):  # moved here as a whole: its files give no notice
                self._notice(file for file in pictures_in(path) if self._is_shown(file))
                continue
            stamp = _stamp(path) if self._is_shown(path) else None
            if stamp is None:
                self._waiting.pop(path, None)  # gone again, or not to be looked at
            elif path not in self._known or self._known[path][0] != stamp:
                age = max(0.0, wall - stamp[1] / 1e9) if quiet_since else 0.0
                self._waiting[path] = stamp, now - age

    def _relist(self) -> None:
        began = time.monotonic()
        listed = (path for folder in self.folders for path in pictures_in(folder))
        self._notice(path for path in listed if path not in self._waiting)
        took = time.monotonic() - began
        self._relist_at = began + max(RELIST_SECONDS, 20 * took)

    def _settled(self) -> Iterator[str]:
        """Yield the waiting pictures that have not changed for SETTLED_SECONDS and were not judged as they are."""
        for folder in self.folders:
            self._ensure_folder(folder)
        now = time.monotonic()
        for path, (before, since) in list(self._waiting.items()):
            stamp = _stamp(path)
            if stamp is None:
                self._waiting.pop(path, None)
            elif stamp != before:
                self._waiting[path] = stamp, now
            elif now - since >= SETTLED_SECONDS:
                self._waiting.pop(path, None)
                if not (counts_as_picture(path) and self._is_inside(path)):
                    continue
                sha256 = sha256_of(path)
                known = self._known.get(path)
                self._known[path] = stamp, sha256
                if known is None or known[1] != sha256:  # touched only, or written again as it was
                    yield path

    def _as_named(self, path: str) -> str:
        """The path of a notice, which may be absolute, as the folders were named: records of two runs must agree."""
        for folder in self.folders:
            for place in (folder, os.path.abspath(folder), os.path.realpath(folder)):
                if Path(path).is_relative_to(place):
                    return os.path.join(folder, os.path.relpath(path, place))
        return path

    def _is_shown(self, path: str) -> bool:
        """True where no name of `path` below its folder is hidden, as in a search of the folder."""
        for folder in self.folders:
            if Path(path).is_relative_to(folder):
                return not any(part.startswith(".") for part in Path(path).relative_to(folder).parts)
        return False

    def _is_inside(self, path: str) -> bool:
        """True where `path` leads to a place inside the folders that the run does not write itself."""
        place = Path(os.path.realpath(path))
        inside = any(place.is_relative_to(root) for root in self._roots)
        return inside and not any(place.is_relative_to(own) for own in self._ours)

    @staticmethod
    def _ensure_folder(folder: str) -> bool:
        if not os.path.isdir(folder):
            raise UsageError(f"{folder} is no folder; --watch watches folders.")
        return True


def _stamp(path: str) -> Stamp | None:
    """Size and times of a regular file; None for what is none, or is gone."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino) if os.path.isfile(path) else None
