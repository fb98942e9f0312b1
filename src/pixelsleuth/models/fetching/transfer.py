"""One file to the disk: bounded, hashed on the way, resumed after an interruption, and whole or not there at all.

Until it is whole it lies beside its place as NAME.part; NAME.etag.part states the version of the part.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pixelsleuth.core.progress import Bar
from pixelsleuth.errors import DownloadError, Interrupted, NotThere
from pixelsleuth.models.fetching import web
from pixelsleuth.models.store import Stored

CHUNK = 1 << 20
ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt; each further one waits twice as long."""
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is fetched: SHA-256, git id, bytes ("" and 0: not known), and who vouches for
    them (`store.CHECKED`)."""

    sha256: str = ""
    git: str = ""
    size: int = 0
    checked: str = "first use"


class _Digest:
    """SHA-256 of a file of known size, and the id that git gives it."""

    def __init__(self, size: int) -> None:
        self.sha256, self.git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self.sha256.update(data)
        self.git.update(data)


def download(urls: Sequence[str], target: Path, expected: Expected, *, key: str = "", bar: Bar) -> Stored:
    """Fetch a file from the first address that has it, and continue where an earlier call stopped.

    Raises:
        DownloadError: it cannot be fetched. The part stays where a later call can continue it; it is deleted where its
            hash or size is wrong.
    """
    for i, url in enumerate(urls):
        try:
            return _persistently(url, target, expected, key, bar)
        except NotThere:
            if i == len(urls) - 1:
                raise
    raise DownloadError(f"No address is known for {target.name}; name a place with --from.")


def _persistently(url: str, target: Path, expected: Expected, key: str, bar: Bar) -> Stored:
    """Ask again where a server breaks off: `ATTEMPTS` times without progress."""
    part, failures = _part(target), 0
    while True:
        before = _size(part)
        try:
            return _once(url, target, expected, key, bar)
        except Interrupted as error:
            failures = failures + 1 if _size(part) - before < CHUNK else 1
            if failures >= ATTEMPTS:
                advice = "try again later, or name another place with --from"
                if kept := _size(part):
                    megabytes = f"{kept / 1e6:.1f} MB of {target.name}"
                    advice = f"{megabytes} are kept, the same command continues from there"
                raise DownloadError(f"{str(error).rstrip('.')}: {advice}.") from None
            time.sleep(PAUSE * 2 ** (failures - 1))


def _once(url: str, target: Path, expected: Expected, key: str, bar: Bar) -> Stored:
    part, mark = _part(target), _mark(target)
    begun, version = _size(part), mark.read_text("utf-8") if mark.is_file() else ""
    if begun and not version and not expected.sha256:
        begun = 0  # the version of the part is not known
    headers = {"Range": f"bytes={begun}-"} if begun else {}
    if begun and version:
        headers["If-Range"] = version  # another version is sent from its beginning
    try:
        reply = web.ask(url, headers, key=key)
    except NotThere:
        if not begun:
            raise
        _forget(target)  # the part is of something longer
        reply, begun = web.ask(url, key=key), 0
    with reply:
        begun, size = _frame(reply, begun, target.name, expected.size)
        known = _declared(reply, expected)
        etag = reply.headers.get("etag", "")
        _save(mark, "" if etag.startswith("W/") else etag)
        _receive(reply.read, target, begun, size, known, reply.host, bar, into := _Digest(size))
    return _keep(target, into, size, known, reply.host)


def _frame(reply: web.Reply, begun: int, name: str, expected: int) -> tuple[int, int]:
    """(byte at which the answer begins, bytes of the whole file).

    Raises:
        DownloadError: no size is declared, or another than expected; or the answer begins at another byte.
    """
    linked, length = reply.number("x-linked-size"), reply.number("content-length")
    if reply.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", reply.headers.get("content-range", ""))
        if match is None or int(match[1]) != begun:
            raise DownloadError(
                f"{reply.host} continues at another place of {name}; try again, or use --from."
            )
        length = int(match[2])
    else:
        begun = 0
    size = expected or linked or length
    if not size:
        raise DownloadError(f"{reply.host} does not say how large {name} is; name another place with --from.")
    for declared in (linked, length):
        if declared is not None and declared != size:
            raise DownloadError(
                f"{reply.host} has a {name} of {declared:,} bytes, not of {size:,}; name another place with --from."
            )
    return begun, size


def _declared(reply: web.Reply, expected: Expected) -> Expected:
    """What is known with the answer's headers: the hub's hash counts where none was known before."""
    if expected.sha256 or expected.git or "x-repo-commit" not in reply.headers:
        return expected
    tag = (reply.headers.get("x-linked-etag") or reply.headers.get("etag", "")).removeprefix("W/").strip('"')
    return Expected(
        sha256=tag if _SHA256.fullmatch(tag) else "",
        git=tag if _SHA1.fullmatch(tag) else "",
        checked="server" if _SHA256.fullmatch(tag) or _SHA1.fullmatch(tag) else "first use",
    )


def copy(source: Path, target: Path, expected: Expected, *, bar: Bar) -> Stored:
    """Copy a file of a mirror's folder. Raises DownloadError, as `download`."""
    try:
        with open(source, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DownloadError(f"{source} is no regular file; name a folder of weights.")
            if expected.size and status.st_size != expected.size:
                raise DownloadError(
                    f"{source} has {status.st_size:,} bytes, not {expected.size:,}: it is another file, or not whole."
                )
            read, into = _readable(file, source), _Digest(status.st_size)
            _receive(read, target, 0, status.st_size, expected, str(source), bar, into)
    except OSError as error:
        raise _unread(error, source) from None
    return _keep(target, into, status.st_size, expected, str(source.parent))


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe in its place is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _readable(file: IO[bytes], source: Path) -> Callable[[int], bytes]:
    def read(size: int) -> bytes:
        try:
            return file.read(size)
        except OSError as error:
            raise _unread(error, source) from None

    return read


def _receive(
    read: Callable[[int], bytes],
    target: Path,
    begun: int,
    size: int,
    expected: Expected,
    whence: str,
    bar: Bar,
    into: _Digest,
) -> None:
    """Write what is read behind the first `begun` bytes; `into` hashes the whole file.

    Raises:
        Interrupted: it ends early. DownloadError: it is longer than declared, or the disk is full.
    """
    part = _part(target)
    bar.begin(target.name, size, begun)
    try:
        with open(part, "r+b" if begun else "wb") as file:
            left = begun
            while left:
                data = file.read(min(CHUNK, left))
                into.update(data)
                left -= len(data)
            received = begun
            # One byte more than is missing shows that the file is longer.
            while data := read(min(CHUNK, size - received + 1)):
                received += len(data)
                if received > size:
                    break
                file.write(data)
                into.update(data)
                bar(len(data))
    except OSError as error:
        raise _unwritten(error, target) from None
    if received > size:
        _forget(target)
        raise DownloadError(f"{whence} sends more of {target.name} than the {size:,} bytes that it declares.")
    if received < size:
        raise Interrupted(f"{whence} broke off after {received:,} of {size:,} bytes.")


def _keep(target: Path, digest: _Digest, size: int, expected: Expected, whence: str) -> Stored:
    """Move the part to its place where its hashes are as expected. Raises DownloadError where they are not."""
    sha256 = digest.sha256.hexdigest()
    for right, computed in ((expected.sha256, sha256), (expected.git, digest.git.hexdigest())):
        if right and right != computed:
            _forget(target)
            raise DownloadError(
                f"{target.name} from {whence} is not what it should be (SHA {computed[:12]}… for {right[:12]}…): "
                "nothing of it was kept; try again, name another place with --from, or add --own-weights where it is "
                "your own."
            )
    try:
        os.replace(_part(target), target)
        _mark(target).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritten(error, target) from None
    return Stored(sha256, size, expected.checked)


def _unread(error: OSError, source: Path) -> DownloadError:
    return DownloadError(f"{source} cannot be read ({error.strerror}); check its disk and permissions.")


def _unwritten(error: OSError, target: Path) -> DownloadError:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return DownloadError(
            f"The disk of {target.parent} is full: free some space and run the same command again, it continues; "
            "or set PIXELSLEUTH_HOME to another disk."
        )
    return DownloadError(
        f"{target} cannot be written ({error.strerror}); set PIXELSLEUTH_HOME to another folder."
    )


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _mark(target: Path) -> Path:
    return target.with_name(f"{target.name}.etag.part")


def _save(mark: Path, version: str) -> None:
    with suppress(OSError):  # without it the next call fetches the file from its beginning
        mark.write_text(version, "utf-8") if version else mark.unlink(missing_ok=True)


def _forget(target: Path) -> None:
    for path in (_part(target), _mark(target)):
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
