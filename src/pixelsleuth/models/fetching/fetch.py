"""Fetch a detector's weights into the store from the hub, a release page, a mirror or a folder; whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.io import open_locked, sha256_of
from pixelsleuth.core.progress import Bar
from pixelsleuth.errors import DownloadError, Unreachable, UsageError
from pixelsleuth.models import store
from pixelsleuth.models.fetching.mirrors import Folder, Offer, Offers, Web
from pixelsleuth.models.fetching.transfer import Expected, copy, download

if TYPE_CHECKING:
    from pixelsleuth.models.catalogue import ModelSpec

SPARE = 50_000_000
"""Bytes of the disk that stay free."""


def fetch(
    spec: ModelSpec,
    *,
    source: str | None = None,
    accept_licence: bool = False,
    force: bool = False,
    own: bool = False,
    bar: Bar | None = None,
) -> store.Entry:
    """The store's entry of a detector, fetched where it is not there yet; what is there is read again from end to end.

    Args:
        source: a folder or an address in place of the hub.
        accept_licence: the user accepts a licence that may forbid some uses.
        force: fetch again what is there.
        own: the files of `source` are the user's own weights, so the published hashes do not count.
        bar: shows the progress.

    Raises:
        UsageError: there is nothing to fetch, the licence must be accepted, or `own` comes without a `source`.
        DamagedWeights: the stored weights are damaged. DownloadError: they cannot be fetched.
    """
    if not spec.origins:
        raise UsageError(by_hand(spec))
    if own and source is None:
        raise UsageError(
            "--own-weights describes what --from holds: name a folder or an address with --from."
        )
    entry = None if force else store.ready(spec.name)
    if entry is not None:
        store.verify(entry)
        return entry
    if not spec.permissive and not accept_licence and not own:
        raise UsageError(licence_question(spec))
    place = Folder(Path(source)) if source is not None and "://" not in source else Web(source)
    try:
        with _alone(spec.name) as folder:
            return _gather(spec, place, folder, own, bar or Bar())
    except Unreachable as error:
        raise DownloadError(
            f"{str(error).rstrip('.?')}: connect, or take the weights from a folder or a mirror with "
            f"`pixelsleuth models get {spec.name} --from FOLDER|URL`."
        ) from None


def by_hand(spec: ModelSpec) -> str:
    """The sentence about a detector whose weights no command fetches."""
    if spec.facts is not None:
        files = ", ".join(spec.facts.files)
        where = spec.facts.where
        return f"The weights of {spec.name} ({files}) are fetched by hand, {where}; name them with --weights."
    if spec.download_bytes:
        return f"{spec.name} is fetched when it is first used; --model also takes a folder that holds it."
    return f"{spec.name} needs no weights from elsewhere: it is ready."


def licence_question(spec: ModelSpec) -> str:
    """The sentence that says why and how a licence must be accepted."""
    pages = ", ".join(origin.page for origin in spec.origins)
    return (
        f"The licence of {spec.name}'s weights may forbid your use (it is: {spec.licence or 'unknown'}); read it at "
        f"{pages}, then run the command again with --accept-licence."
    )


def _gather(spec: ModelSpec, place: Web | Folder, folder: Path, own: bool, bar: Bar) -> store.Entry:
    """Bring all files into `folder`, then make it the detector's."""
    offers = [place.offers(spec.name, origin) for origin in spec.origins]
    files = [file for offer in offers for file in offer.files]
    if own:
        files = [replace(file, expected=Expected()) for file in files]
    _check_room(folder, files)
    stored = {file.name: _fetched(file, folder, place, bar) for file in files}
    first: Offers = offers[0]
    revision = "" if own else first.revision
    licence = "the user's own weights" if own else spec.licence or "unknown"
    return store.settle(store.Entry(spec.name, folder, stored, revision, licence, first.source))


def _fetched(file: Offer, folder: Path, place: Web | Folder, bar: Bar) -> store.Stored:
    target, expected = folder / file.name, file.expected
    if target.is_file() and expected.sha256:  # an interrupted call may have fetched it
        size = target.stat().st_size
        if size == (expected.size or size) and sha256_of(target) == expected.sha256:
            return store.Stored(expected.sha256, size, expected.checked)
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.path is not None:
        return copy(file.path, target, expected, bar=bar)
    return download(file.urls, target, expected, key=place.key if isinstance(place, Web) else "", bar=bar)


def _check_room(folder: Path, files: Sequence[Offer]) -> None:
    """Raise DownloadError where the disk has too little room for the files that are still missing."""
    need = sum(file.expected.size or (file.path.stat().st_size if file.path else 0) for file in files)
    have = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if need - have + SPARE > free:
        raise DownloadError(
            f"{(need - have) / 1e9:.2f} GB are missing and {folder.parent} has room for {free / 1e9:.2f} GB: free some "
            "space, or set PIXELSLEUTH_HOME to another disk."
        )


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """The folder in which files are gathered, for one process at a time; it goes afterwards where it is empty."""
    folder = store.staging(name)
    lock = folder.with_name(f"{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open_locked(lock, wait=False)
    except BlockingIOError:
        raise DownloadError(f"Another command is fetching {name}; wait for it.") from None
    except OSError as error:
        raise DownloadError(
            f"{folder} cannot be made ({error.strerror}); set PIXELSLEUTH_HOME to another folder."
        ) from None
    try:
        yield folder
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)
        for path in (folder, folder.parent):  # a folder with files stays: the next call continues there
            with suppress(OSError):
                path.rmdir()
