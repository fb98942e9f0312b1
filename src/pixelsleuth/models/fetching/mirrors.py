"""Places that files come from: the hub, a mirror of it on the web, or a folder. Each offers the files of an origin."""

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
from pixelsleuth.models.fetching.transfer import Expected

HUB = "https://huggingface.co"
RAW = "https://raw.githubusercontent.com"
MOST_FILES = 10_000
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Offer:
    """A file on offer: its name in the detector's folder, what is known of it, and its addresses or its path."""

    name: str
    expected: Expected
    urls: Sequence[str] = ()
    path: Path | None = None


@dataclass(frozen=True)
class Offers:
    """All files of an origin in one `revision` ("" where the place does not state it), and where they come from."""

    files: Sequence[Offer]
    revision: str
    source: str


class Web:
    """The hub (HF_ENDPOINT names another), or a mirror by its address, which answers like the hub or serves plain files
    as `owner/name/FILE` or `FILE`."""

    def __init__(self, address: str | None = None) -> None:
        self.mirror = address is not None
        self.address = (address or os.environ.get("HF_ENDPOINT") or HUB).strip().rstrip("/")
        web.check_address(self.address)
        self.key = "" if self.mirror else web.token()

    def offers(self, name: str, origin: Origin) -> Offers:
        """The files of an origin; no request is sent where every hash is pinned.

        Raises:
            DownloadError: no answer, or another than the hub's.
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
            pinned = [self._pinned(origin, file) for file in origin.files]
            return Offers(
                [replace(file, expected=Expected(size=file.expected.size)) for file in pinned], "", source
            )
        chosen = [file.path for file in origin.files] or of_checkpoint(list(listed))
        missing = [path for path in chosen if path not in listed] or ([] if chosen else ["a checkpoint"])
        if missing:
            raise DownloadError(f"{origin.repository} holds no {missing[0]}; name another place with --from.")
        files = [
            Offer(
                _inside(self.address, origin, Remote(path).name),
                listed[path],
                self._addresses(origin, path, revision),
            )
            for path in chosen
        ]
        return Offers(files, revision, source)

    def _pinned(self, origin: Origin, file: Remote) -> Offer:
        expected = Expected(file.sha256, size=file.size, checked="pinned")
        addresses = self._addresses(origin, file.path, origin.revision or "main")
        return Offer(_inside(self.address, origin, file.name), expected, addresses)

    def _addresses(self, origin: Origin, path: str, revision: str) -> list[str]:
        place = quote(path)
        if origin.host == "github" and not self.mirror:
            return [f"{RAW}/{origin.repository}/{revision}/{place}"]
        hub = f"{self.address}/{origin.repository}/resolve/{revision}/{place}"
        name = quote(Remote(path).name)
        plain = [f"{self.address}/{origin.repository}/{place}", f"{self.address}/{origin.repository}/{name}"]
        return list(dict.fromkeys([hub, *plain, f"{self.address}/{name}"])) if self.mirror else [hub]

    def _listing(self, origin: Origin) -> tuple[str, dict[str, Expected]]:
        """(commit, what the hub states of each file by path), of the origin's revision or of the newest."""
        branch = origin.revision or "main"
        answer = web.ask_json(
            f"{self.address}/api/models/{origin.repository}/revision/{branch}?blobs=true", key=self.key
        )
        try:
            revision, rows = answer["sha"], answer["siblings"]
            if not _COMMIT.fullmatch(revision) or len(rows) > MOST_FILES:
                raise ValueError
            files = {str(row["rfilename"]): _stated(row) for row in rows}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DownloadError(
                f"{self.address} does not answer as a hub does; name another with --from."
            ) from None
        if origin.revision and revision != origin.revision:
            raise DownloadError(
                f"{self.address} has another revision of {origin.repository}; name another with --from."
            )
        return revision, files


def _stated(row: dict[str, Any]) -> Expected:
    """What a row of the hub's list states of a file: a SHA-256 for large files, git's id for small ones."""
    large = row.get("lfs") or {}
    size, sha256, git = large.get("size") or row.get("size") or 0, large.get("sha256") or "", ""
    if not large:
        git = row.get("blobId") or ""
    if type(size) is not int or size < 0 or not _SHA256.fullmatch(sha256 or "0" * 64):
        raise ValueError
    if not _COMMIT.fullmatch(git or "0" * 40):
        raise ValueError
    return Expected(sha256, git, size, "server" if sha256 or git else "first use")


class Folder:
    """A folder on a disk: the files themselves, a mirror (`owner/name/FILE`), another machine's store, or the hub's
    cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser()
        if not self.folder.is_dir():
            raise DownloadError(
                f"{self.folder} is no folder; name one that holds the weights, or https://HOST."
            )

    def offers(self, name: str, origin: Origin) -> Offers:
        """The files of an origin.

        Raises:
            DownloadError: the folder lacks a file.
        """
        for root, revision in self._roots(name, origin):
            names = [file.name for file in origin.files] or of_checkpoint(_names(root))
            paths = [path for name in names if (path := self._find(root, name, origin)) is not None]
            if names and len(paths) == len(names):
                manifest = self._manifest(name, root, origin)
                pinned = {file.name: file for file in origin.files}
                files = [
                    Offer(
                        _inside(str(self.folder), origin, short),
                        _known(pinned.get(short), manifest, origin.place(short)),
                        path=path,
                    )
                    for short, path in zip(names, paths, strict=True)
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
        """Folders that may hold the origin's files, each with the revision that its name states, or ""."""
        entry = [self.folder / "models" / name, self.folder / name, self.folder]
        roots = [(self.folder / origin.repository, "")]
        cache = self.folder / f"models--{origin.repository.replace('/', '--')}" / "snapshots"
        snapshots = sorted(path for path in cache.glob("*") if path.is_dir() and _COMMIT.fullmatch(path.name))
        # The hub's cache may hold several revisions: the pinned one comes first, then the latest.
        snapshots.sort(key=lambda path: (path.name != origin.revision, -path.stat().st_mtime))
        roots += [(path, path.name) for path in snapshots]
        return roots + [(place / origin.folder, "") for place in entry]

    def _find(self, root: Path, name: str, origin: Origin) -> Path | None:
        places = [root / name, *(root / file.path for file in origin.files if file.name == name)]
        return next((path for path in places if path.is_file()), None)

    def _manifest(self, name: str, root: Path, origin: Origin) -> store.Entry | None:
        """The manifest of these files where they lie in another store; None where they do not."""
        place = root
        for _ in Path(origin.folder).parts:
            place = place.parent
        try:
            return store.read(name, place)
        except DamagedWeights:
            raise DownloadError(f"{place} holds a damaged copy of {name}: copy it again.") from None


def _inside(place: str, origin: Origin, name: str) -> str:
    """A file's name in the detector's folder. Raises DownloadError where it leads out of it."""
    try:
        return store.inside(origin.place(name))
    except ValueError as error:
        raise DownloadError(f"{place} offers a file that is refused: {error}.") from None


def _known(pinned: Remote | None, manifest: store.Entry | None, name: str) -> Expected:
    if pinned is not None and pinned.sha256:
        return Expected(pinned.sha256, size=pinned.size, checked="pinned")
    if manifest is not None and name in manifest.files:
        stored = manifest.files[name]
        return Expected(stored.sha256, size=stored.size, checked=stored.checked)
    return Expected()


def _names(root: Path) -> list[str]:
    """Names of the files in a folder, without the store's manifest."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_file() and path.name != store.MANIFEST)
