"""Where files can come from: the hub, a mirror of it on the web, or a folder; each offers what an origin names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pixelsleuth.errors import DamagedWeights, DownloadError, NotThere
from pixelsleuth.models import store
from pixelsleuth.models.facts import Origin, Remote, of_checkpoint
from pixelsleuth.models.fetching import web
from pixelsleuth.models.fetching.transfer import Wanted

HUB = "https://huggingface.co"
RAW = "https://raw.githubusercontent.com"
MOST_FILES = 10_000
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Offer:
    """A file to be had: its name in the detector's folder, what is known of it, and its addresses or its path."""

    name: str
    wanted: Wanted
    urls: Sequence[str] = ()
    path: Path | None = None


@dataclass(frozen=True)
class Offers:
    """All files of one origin, of one `revision` ("" where the place does not tell), and where they come from."""

    files: Sequence[Offer]
    revision: str
    source: str


class Web:
    """The hub (HF_ENDPOINT names another), or a mirror by its address: one that speaks as the hub does, or plain files
    under `owner/name/FILE` or by themselves."""

    def __init__(self, address: str | None = None) -> None:
        self.mirror = address is not None
        self.address = (address or os.environ.get("HF_ENDPOINT") or HUB).strip().rstrip("/")
        web.check_address(self.address)
        self.key = "" if self.mirror else web.token()

    def offers(self, name: str, origin: Origin) -> Offers:
        """What there is of an origin; nothing is asked where every hash is known.

        Raises:
            DownloadError: no answer, or not the hub's.
        """
        del name
        source = self.address if self.mirror else origin.page
        if origin.pinned:
            files = [self._pinned(origin, file) for file in origin.files]
            return Offers(files, origin.revision, source)
        try:
            revision, listed = self._listing(origin)
        except NotThere:
            if not self.mirror or not origin.files:
                raise
            files = [
                replace(self._pinned(origin, file), wanted=Wanted(size=file.size)) for file in origin.files
            ]
            return Offers(files, "", source)
        chosen = [file.path for file in origin.files] or of_checkpoint(list(listed))
        missing = [path for path in chosen if path not in listed] or ([] if chosen else ["a checkpoint"])
        if missing:
            raise DownloadError(f"{origin.repository} holds no {missing[0]}; name another place with --from.")
        files = [
            Offer(self._name(origin, path), listed[path], self._addresses(origin, path, revision))
            for path in chosen
        ]
        return Offers(files, revision, source)

    def _name(self, origin: Origin, path: str) -> str:
        try:
            return store.inside(origin.place(Remote(path).name))
        except ValueError as error:
            raise DownloadError(f"{self.address} offers what is refused: {error}.") from None

    def _pinned(self, origin: Origin, file: Remote) -> Offer:
        wanted = Wanted(file.sha256, size=file.size, checked="pinned")
        return Offer(
            self._name(origin, file.path),
            wanted,
            self._addresses(origin, file.path, origin.revision or "main"),
        )

    def _addresses(self, origin: Origin, path: str, revision: str) -> list[str]:
        place = quote(path)
        if origin.host == "github" and not self.mirror:
            return [f"{RAW}/{origin.repository}/{revision}/{place}"]
        hub = f"{self.address}/{origin.repository}/resolve/{revision}/{place}"
        name = quote(Remote(path).name)
        plain = [f"{self.address}/{origin.repository}/{place}", f"{self.address}/{origin.repository}/{name}"]
        return list(dict.fromkeys([hub, *plain, f"{self.address}/{name}"])) if self.mirror else [hub]

    def _listing(self, origin: Origin) -> tuple[str, dict[str, Wanted]]:
        """(commit, what is told of each file by path): of the origin's revision, or of the day's."""
        asked = origin.revision or "main"
        told = web.ask_json(
            f"{self.address}/api/models/{origin.repository}/revision/{asked}?blobs=true", key=self.key
        )
        try:
            revision, rows = told["sha"], told["siblings"]
            if not _COMMIT.fullmatch(revision) or len(rows) > MOST_FILES:
                raise ValueError
            files = {str(row["rfilename"]): _told(row) for row in rows}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DownloadError(
                f"{self.address} does not answer as a hub does; name another with --from."
            ) from None
        if origin.revision and revision != origin.revision:
            raise DownloadError(
                f"{self.address} has another revision of {origin.repository}; name another with --from."
            )
        return revision, files


def _told(row: dict[str, Any]) -> Wanted:
    """What a row of the hub's list says of a file; large ones have a SHA-256, small ones git's id."""
    large = row.get("lfs") or {}
    size, sha256, git = large.get("size") or row.get("size") or 0, large.get("sha256") or "", ""
    if not large:
        git = row.get("blobId") or ""
    if type(size) is not int or size < 0 or not _SHA256.fullmatch(sha256 or "0" * 64):
        raise ValueError
    if not _COMMIT.fullmatch(git or "0" * 40):
        raise ValueError
    return Wanted(sha256, git, size, "server" if sha256 or git else "first use")


class Folder:
    """A folder on a disk: the files themselves, a mirror (`owner/name/FILE`), another machine's store, or the hub's own
    cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser()
        if not self.folder.is_dir():
            raise DownloadError(
                f"{self.folder} is no folder; name one that holds the weights, or https://HOST."
            )

    def offers(self, name: str, origin: Origin) -> Offers:
        """What there is of an origin.

        Raises:
            DownloadError: it lacks a file.
        """
        for root, revision in self._roots(name, origin):
            names = [file.name for file in origin.files] or of_checkpoint(_names(root))
            paths = [self._find(root, name, origin) for name in names]
            found = [path for path in paths if path is not None]
            if names and len(found) == len(names):
                manifest = self._manifest(name, root, origin)
                pinned = {file.name: file for file in origin.files}
                files = [
                    Offer(
                        self._inside(origin.place(short)),
                        _known(pinned.get(short), manifest, origin.place(short)),
                        path=path,
                    )
                    for short, path in zip(names, found, strict=True)
                ]
                revision = (
                    origin.revision if origin.pinned else revision or (manifest.revision if manifest else "")
                )
                return Offers(files, revision, str(self.folder))
        lacks = ", ".join(file.name for file in origin.files) or "the checkpoint"
        raise DownloadError(
            f"{self.folder} lacks {lacks} of {origin.repository}: put it there by itself, or under {origin.repository}."
        )

    def _roots(self, name: str, origin: Origin) -> list[tuple[Path, str]]:
        """Folders that may hold the origin's files, with the revision where the folder's name tells it."""
        entry = [self.folder / "models" / name, self.folder / name, self.folder]
        roots = [(self.folder / origin.repository, "")]
        cache = self.folder / f"models--{origin.repository.replace('/', '--')}" / "snapshots"
        snapshots = sorted(path for path in cache.glob("*") if path.is_dir() and _COMMIT.fullmatch(path.name))
        # The hub's cache may hold several revisions: the one that is known to be right, else the one fetched last.
        snapshots.sort(key=lambda path: (path.name != origin.revision, -path.stat().st_mtime))
        roots += [(path, path.name) for path in snapshots]
        return roots + [(place / origin.folder, "") for place in entry]

    def _find(self, root: Path, name: str, origin: Origin) -> Path | None:
        places = [root / name, *(root / file.path for file in origin.files if file.name == name)]
        return next((path for path in places if path.is_file()), None)

    def _manifest(self, name: str, root: Path, origin: Origin) -> store.Entry | None:
        """What another store says of these files, where they come from one and it is whole."""
        place = root
        for _ in Path(origin.folder).parts:
            place = place.parent
        try:
            return store.read(name, place)
        except DamagedWeights:
            raise DownloadError(f"{place} holds a damaged copy of {name}: carry it here again.") from None

    def _inside(self, name: str) -> str:
        try:
            return store.inside(name)
        except ValueError as error:
            raise DownloadError(f"{self.folder}: {error}.") from None


def _known(pinned: Remote | None, manifest: store.Entry | None, name: str) -> Wanted:
    if pinned is not None and pinned.sha256:
        return Wanted(pinned.sha256, size=pinned.size, checked="pinned")
    if manifest is not None and name in manifest.files:
        stored = manifest.files[name]
        return Wanted(stored.sha256, size=stored.size, checked=stored.checked)
    return Wanted()


def _names(root: Path) -> list[str]:
    """Names of the files in a folder, as far as they are plain."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_file() and path.name != store.MANIFEST)
