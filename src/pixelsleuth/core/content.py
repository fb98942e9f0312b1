"""Refuses what is not the checkpoint file that its name says: a pointer of Git LFS or git-annex, a web page, a pipe."""

from __future__ import annotations

import os
import stat
from os import PathLike

from pixelsleuth.errors import UsageError

HEAD = 512
"""Bytes that show what a file is; a pointer is about 130 bytes long."""
LARGE = (".safetensors", ".bin", ".pt", ".pth", ".onnx", ".model", ".json")
"""Endings of files of a checkpoint that are stored apart from a repository."""
MOST_ENTRIES = 10_000
DEEPEST = 3
_KINDS = (
    (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def ensure_fetched(folder: str | PathLike[str]) -> None:
    """`ensure_content` for every weight and tokenizer file of a folder. Raises UsageError."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if name.endswith(LARGE):
            ensure_content(os.path.join(folder, name))


def ensure_content(path: str | PathLike[str]) -> None:
    """Raise UsageError where a file is a pointer, a web page or empty, with the way to the file itself.

    A file that cannot be opened passes: reading it gives the error.
    """
    try:
        if not os.path.isfile(path):
            return
        with open(path, "rb") as handle:
            head = handle.read(HEAD)
    except OSError:
        return
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise UsageError(
            f"{os.fspath(path)} is a pointer of Git LFS, not the file itself: run `git lfs pull` in its folder, or "
            "download the file."
        )
    if head.startswith(b"/annex/objects/"):
        raise UsageError(
            f"{os.fspath(path)} is a pointer of git-annex, not the file itself: run `git annex get` on it."
        )
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise UsageError(f"{os.fspath(path)} is a web page, not the file itself: download the file.")
    if not head:
        raise UsageError(f"{os.fspath(path)} is empty: copy or download it again.")


def ensure_regular(path: str | PathLike[str]) -> None:
    """Raise UsageError where a path is a pipe, a socket or a device, or a folder that holds one (three levels deep).

    Links are followed. A path that does not exist passes.
    """
    left = [(os.fspath(path), 0)]
    count = 0
    while left and count < MOST_ENTRIES:
        place, depth = left.pop()
        count += 1
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
