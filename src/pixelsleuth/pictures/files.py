"""Finds the files to judge and reads their bytes; nothing on a disk can hang or flood the process."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from pixelsleuth.errors import NoPictures, NotAPicture, PictureNotFound, PictureTooLarge
from pixelsleuth.pictures.formats import SUFFIXES, UNREAD_SUFFIXES, sniff, unread_picture

MAX_FILE_BYTES = 512 << 20


def find_pictures(paths: Sequence[str | PathLike[str]]) -> list[str]:
    """Return the files to judge: the named files, and those of the named folders, sorted, without hidden names.

    In a folder a file counts by its suffix or by how its content begins, also where its picture format is not read: its
    record then says so. A path that does not exist, or an empty folder beside others, is kept: opening it gives the
    error of that entry. Raises NoPictures where there is no picture at all.
    """
    files: dict[str, None] = {}
    any_picture = False
    for path in (os.fspath(entry) for entry in paths):
        if os.path.isdir(path):
            inside = pictures_in(path)
            any_picture = any_picture or bool(inside)
            files.update(dict.fromkeys(inside or [path]))
        else:
            any_picture = True
            files[path] = None
    if not any_picture:
        names = ", ".join(map(str, files))
        raise NoPictures(
            f"{names} holds no picture; name a folder with pictures in it." if files else "Name a picture."
        )
    return list(files)


def pictures_in(folder: str) -> list[str]:
    """Return the pictures below a folder, sorted, without hidden names; links to folders are not followed."""
    pictures = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(root, name)
            if not name.startswith(".") and counts_as_picture(path):
                pictures.append(path)
    return pictures


def counts_as_picture(path: str) -> bool:
    """Whether a file of a folder is looked at: by its suffix, or by how its content begins."""
    suffix = Path(path).suffix.lower()
    return suffix in SUFFIXES or suffix in UNREAD_SUFFIXES or looks_like_picture(path)


def looks_like_picture(path: str) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            head = file.read(64)
        return sniff(head) is not None or unread_picture(head) is not None
    except OSError:
        return False


def read_file(path: str, label: str) -> bytearray:
    """Return the bytes of a regular file; pipes and devices may never end and are refused. Raises PictureError."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise NotAPicture(
                f"{label} is a folder that holds no picture; name a picture or a folder with pictures."
            )
        if not stat.S_ISREG(status.st_mode):
            raise NotAPicture(f"{label} is not a regular file; save the picture to a file first.")
        if status.st_size > MAX_FILE_BYTES:
            raise file_too_large(label, status.st_size)
        with open(path, "rb", buffering=0) as file:
            data = bytearray(status.st_size)
            view, size = memoryview(data), 0
            while size < len(data) and (step := file.readinto(view[size:])):
                size += step
            view.release()
            del data[size:]
            return data
    except FileNotFoundError:
        hint = "download it first" if "://" in path else "check the path"
        raise PictureNotFound(f"There is no file {label}; {hint}.") from None
    except PermissionError:
        raise PictureNotFound(f"{label} may not be read; check its permissions.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureNotFound(f"{label} cannot be read ({reason}); check the path.") from None


def file_too_large(label: str, size: int) -> PictureTooLarge:
    return PictureTooLarge(
        f"{label} has {size >> 20} MiB, more than the {MAX_FILE_BYTES >> 20} that are read; scale it down."
    )
