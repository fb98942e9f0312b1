"""Files of a checkpoint are regular files: a pipe or a device in their place is never opened, it may never end."""

from __future__ import annotations

import os
import stat
from os import PathLike

from pixelsleuth.errors import UsageError

MOST_ENTRIES = 10_000
DEEPEST = 3
_KINDS = (
    (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def ensure_regular(path: str | PathLike[str]) -> None:
    """Return where a file, or everything in a folder (three levels of it), can be read to an end.

    Links count as what they lead to. What does not exist is left to whoever reads it.

    Raises:
        UsageError: it is, or holds, a pipe, a socket or a device.
    """
    left = [(os.fspath(path), 0)]
    seen = 0
    while left and seen < MOST_ENTRIES:
        place, depth = left.pop()
        seen += 1
        try:
            mode = os.stat(place).st_mode
        except (OSError, ValueError):
            continue
        kind = next((name for test, name in _KINDS if test(mode)), None)
        if kind is not None:
            raise UsageError(f"{place} is {kind}, not a file: copy or download the checkpoint again.")
        if stat.S_ISDIR(mode) and depth < DEEPEST:
            try:
                names = sorted(os.listdir(place), reverse=True)
            except OSError:
                continue
            left += [(os.path.join(place, name), depth + 1) for name in names]
