"""The store of fetched weights: one folder a detector, with a manifest of its files.

`pixelsleuth models get` fills it, `models remove` empties it, and `models.registry` takes a baseline's weights from it.
Only the standard library is imported.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pixelsleuth.core.io import sha256_of, write_json
from pixelsleuth.errors import DamagedWeights, OutputError, UsageError

SCHEMA = "pixelsleuth.store/1"
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 4_000_000
"""Bytes; a manifest of thousands of files is smaller."""
CHECKED = ("pinned", "server", "first use")
"""Who vouches for a file's SHA-256: this version of PixelSleuth; the server that sent the file; nobody (it was
recorded when the file first came)."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What Windows takes for a device, or strips from the end of a name.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


@dataclass(frozen=True)
class Stored:
    """One file: its SHA-256 (64 hex digits), its bytes, and who vouched for the hash (see `CHECKED`)."""

    sha256: str
    size: int
    checked: str = "first use"


@dataclass(frozen=True)
class Entry:
    """A detector's files in the store, by their paths inside `folder` (with slashes). `source` is where they came from,
    `revision` the commit ("" where the source has none)."""

    name: str
    folder: Path
    files: Mapping[str, Stored]
    revision: str
    licence: str
    source: str

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(stored.size for stored in self.files.values())

    @property
    def weights(self) -> Path:
        """What `--weights` takes: the file where there is one, else the folder."""
        return self.folder / next(iter(self.files)) if len(self.files) == 1 else self.folder


def home() -> Path:
    """The folder for everything that PixelSleuth keeps: PIXELSLEUTH_HOME, else `pixelsleuth` in the user's cache."""
    chosen = os.environ.get("PIXELSLEUTH_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        caches = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        caches = "~/Library/Caches"
    else:
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        caches = caches if os.path.isabs(caches) else "~/.cache"
    return Path(caches).expanduser() / "pixelsleuth"


def folder(name: str) -> Path:
    """The folder of a detector's weights, whether it is there or not.

    Raises:
        UsageError: not a detector's name (it could lead out of the store).
    """
    if not _NAME.fullmatch(name) or name.endswith(".") or name.partition(".")[0] in _DEVICES:
        raise UsageError(f"{name!r} is no name of a detector; `pixelsleuth models` lists them.")
    return home() / "models" / name


def staging(name: str) -> Path:
    """The folder in which a fetch collects files until all are there; no detector's name begins with a dot."""
    return folder(name).parent / ".begun" / name


def ready(name: str) -> Entry | None:
    """A detector's entry in the store; None where there is none.

    Names and sizes are checked; hashes are not, since that would read every byte at each start (see `verify`).

    Raises:
        DamagedWeights: the manifest is damaged, or a file of it is missing or of another size.
    """
    return read(name, folder(name))


def read(name: str, place: Path) -> Entry | None:
    """The entry in a folder of any store, such as one carried here from another machine. Raises as `ready` does."""
    path = place / MANIFEST
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST_MANIFEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _damaged(name, place, f"{path} cannot be read, {error.strerror}") from None
    try:
        if len(text) > LARGEST_MANIFEST:
            raise ValueError("it is too large")
        entry = _entry(name, place, json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(name, place, f"{MANIFEST}: {error}") from None
    for file_name, stored in entry.files.items():
        _check_file(entry, file_name, stored)
    return entry


def verify(entry: Entry) -> None:
    """Read every file again and compare its hash.

    Raises:
        DamagedWeights: a file is not what was fetched.
    """
    for name, stored in entry.files.items():
        _check_file(entry, name, stored)
        if sha256_of(entry.folder / name) != stored.sha256:
            raise _damaged(
                entry.name, entry.folder, f"the SHA-256 of {name} is another than when it was fetched"
            )


def write(entry: Entry) -> None:
    """Write the manifest of files that lie in `entry.folder`; from then on the detector is ready.

    Raises:
        ValueError: a file name that leads out of the folder, or no hash. OutputError: it cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "name": entry.name,
        "revision": entry.revision,
        "licence": entry.licence,
        "source": entry.source,
        "files": {name: vars(stored) for name, stored in entry.files.items()},
    }
    _entry(entry.name, entry.folder, content)  # what would be refused when read is not written
    write_json(entry.folder / MANIFEST, content)


def remove(name: str) -> int:
    """Delete a detector's folder, whole or damaged, and unfinished downloads; return the number of bytes freed.

    Raises:
        UsageError: nothing of that name is there. OutputError: it cannot be deleted.
    """
    place = folder(name)
    if not (place.is_symlink() or place.exists() or staging(name).exists()):
        raise UsageError(f"The store holds nothing of {name!r}: {place} does not exist.")
    return _clear(place) + _clear(staging(name))


def _clear(place: Path) -> int:
    try:
        if place.is_symlink():  # a link to somebody's own folder: the link goes, the folder stays
            place.unlink()
        if not place.is_dir():
            return 0
        freed = sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir())
        (place / MANIFEST).unlink(missing_ok=True)  # first, so that half a folder never counts as ready
        shutil.rmtree(place)
    except OSError as error:
        raise OutputError(f"{place} cannot be deleted ({error.strerror}); close what uses it.") from None
    return freed


def settle(entry: Entry) -> Entry:
    """Replace the detector's folder by the files in `staging(entry.name)`; return the new entry.

    Raises:
        OutputError: the folder cannot be moved.
    """
    place, old = folder(entry.name), staging(entry.name).with_name(f"{entry.name}.old")
    write(entry)
    try:
        _clear(old)
        if place.is_symlink():
            place.unlink()
        if place.exists():
            os.replace(place, old)
        os.replace(entry.folder, place)
        _clear(old)
    except OSError as error:
        if not place.exists():
            raise OutputError(f"{place} cannot be written ({error.strerror}); close what uses it.") from None
    return replace(entry, folder=place)


def inside(name: str) -> str:
    """Return `name` if it stays inside the folder that it is put into.

    >>> inside("openai/clip/model.safetensors")
    'openai/clip/model.safetensors'

    Raises:
        ValueError: an absolute name; one with `..`, a backslash, a colon or a control character; a name that the store
            itself uses.
    """
    parts = name.split("/")
    strange = any(character in '\\:*?"<>|' or ord(character) < 32 for character in name)
    bad = any(
        part in ("", ".", "..") or part[-1] in ". " or part.partition(".")[0].lower() in _DEVICES
        for part in parts
    )
    own = parts[-1].endswith(".part") or name == MANIFEST
    if strange or bad or own or len(name) > 300 or PurePosixPath(name).is_absolute():
        raise ValueError(f"{name!r} is no name of a file to keep")
    return name


def _entry(name: str, place: Path, content: dict[str, Any]) -> Entry:
    """The entry in a manifest's content. Raises ValueError, TypeError, KeyError or AttributeError."""
    if content.get("schema") != SCHEMA or content.get("name") != name:
        raise ValueError("it is of another detector or of another version")
    texts = {key: content[key] for key in ("revision", "licence", "source")}
    if not all(isinstance(text, str) for text in texts.values()) or not content["files"]:
        raise ValueError("it is incomplete")
    files = {inside(key): _stored(key, **value) for key, value in content["files"].items()}
    return Entry(name, place, files, **texts)


def _stored(name: str, *, sha256: str, size: int, checked: str) -> Stored:
    if not _SHA256.fullmatch(sha256) or type(size) is not int or size < 0 or checked not in CHECKED:
        raise ValueError(f"it lacks the hash or size of {name}")
    return Stored(sha256, size, checked)


def _check_file(entry: Entry, name: str, stored: Stored) -> None:
    path = entry.folder / name
    if not path.is_file():
        raise _damaged(entry.name, entry.folder, f"{name} is missing")
    if not path.resolve().is_relative_to(entry.folder.resolve()):
        raise _damaged(entry.name, entry.folder, f"{name} is a link that leads out of it")
    if path.stat().st_size != stored.size:
        raise _damaged(entry.name, entry.folder, f"{name} has another size than when it was fetched")


def _damaged(name: str, place: Path, why: str) -> DamagedWeights:
    return DamagedWeights(
        f"The weights of {name} in {place} are damaged ({why}); run: pixelsleuth models get {name} --force"
    )
