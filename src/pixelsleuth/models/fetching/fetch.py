"""Weights of a detector into the store: from the hub, a release page, a mirror or a folder; whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.progress import Bar
from pixelsleuth.errors import DownloadError, Unreachable, UsageError
from pixelsleuth.models import store
from pixelsleuth.models.fetching.mirrors import Folder, Offer, Offers, Web
from pixelsleuth.models.fetching.transfer import Wanted, copy, download

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
    """The store's entry of a detector; what is not there yet is fetched from the hub, or from `source` (a folder or an
    address). What is there is read again from end to end, and fetched again with `force`. With `own` the files of
    `source` are the user's own weights: the hashes that are known of the published ones do not count.

    Raises:
        UsageError: there is nothing to fetch, the licence asks for `accept_licence`, or `own` without a `source`.
        DamagedWeights: what is there is damaged. DownloadError: what went wrong.
    """
    if not spec.origins:
        raise UsageError(by_hand(spec))
    if own and source is None:
        raise UsageError("--own-weights says what --from holds: name a folder or an address with --from.")
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
    """What to say of a detector whose weights no command fetches."""
    if spec.facts is not None:
        files = ", ".join(spec.facts.files)
        where = spec.facts.where
        return f"The weights of {spec.name} ({files}) are fetched by hand, {where}; give them with --weights."
    if spec.download_bytes:
        return f"{spec.name} is fetched when it is first used; --model takes a folder that holds it, too."
    return f"{spec.name} needs no weights from elsewhere: it is ready."


def licence_question(spec: ModelSpec) -> str:
    """Why a licence must be accepted, and how."""
    pages = ", ".join(origin.page for origin in spec.origins)
    return (
        f"The licence of {spec.name}'s weights may forbid your use (it is: {spec.licence or 'unknown'}); read it at "
        f"{pages}, then give the command again with --accept-licence."
    )


def _gather(spec: ModelSpec, place: Web | Folder, folder: Path, own: bool, bar: Bar) -> store.Entry:
    """Bring all files into `folder`, then make it the detector's."""
    offers = [place.offers(spec.name, origin) for origin in spec.origins]
    files = [file for offer in offers for file in offer.files]
    if own:
        files = [replace(file, wanted=Wanted()) for file in files]
    _check_room(folder, files)
    stored = {file.name: _bring(file, folder, place, bar) for file in files}
    first: Offers = offers[0]
    revision = "" if own else first.revision
    licence = "the user's own weights" if own else spec.licence or "unknown"
    return store.settle(store.Entry(spec.name, folder, stored, revision, licence, first.source))


def _bring(file: Offer, folder: Path, place: Web | Folder, bar: Bar) -> store.Stored:
    target, wanted = folder / file.name, file.wanted
    if target.is_file() and wanted.sha256 and target.stat().st_size == (wanted.size or target.stat().st_size):
        with open(target, "rb") as handle:  # an earlier call brought it before it was cut
            if hashlib.file_digest(handle, "sha256").hexdigest() == wanted.sha256:
                return store.Stored(wanted.sha256, target.stat().st_size, wanted.checked)
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.path is not None:
        return copy(file.path, target, wanted, bar=bar)
    return download(file.urls, target, wanted, key=place.key if isinstance(place, Web) else "", bar=bar)


def _check_room(folder: Path, files: Sequence[Offer]) -> None:
    """Raises DownloadError where the disk has too little room for what is still to come."""
    need = sum(file.wanted.size or (file.path.stat().st_size if file.path else 0) for file in files)
    have = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if need - have + SPARE > free:
        raise DownloadError(
            f"{(need - have) / 1e9:.2f} GB are to come and {folder.parent} has room for {free / 1e9:.2f} GB: free some "
            "space, or set PIXELSLEUTH_HOME to another disk."
        )


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """The folder to gather files in, for one process at a time; empty, it is gone afterwards."""
    folder = store.staging(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_name(f"{name}.lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise DownloadError(
            f"{folder} cannot be made ({error.strerror}); set PIXELSLEUTH_HOME to another folder."
        ) from None
    with lock:
        if not _locked(lock.fileno()):
            raise DownloadError(f"Another command is fetching {name}; wait for it.")
        try:
            yield folder
        finally:
            with suppress(OSError):
                Path(lock.name).unlink()
            for path in (folder, folder.parent):  # what is not empty stays: the next call goes on with it
                with suppress(OSError):
                    path.rmdir()


def _locked(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: two at once are then told apart by the hash alone
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
