"""HTTP for weights: https alone, checked redirects, timeouts, and one sentence for every failure.

Only the standard library, so that the light core can fetch weights.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from pixelsleuth._version import __version__
from pixelsleuth.errors import DownloadError, Interrupted, NotThere, Unreachable

TIMEOUT = 30.0
"""Seconds without a byte until a server counts as silent."""
MOST_JSON = 16_000_000
"""Bytes of a repository's list of files, at most."""
LINKED = ("x-linked-etag", "x-linked-size", "x-repo-commit")
"""Headers in which the hub describes a file before it redirects to its bytes."""
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass
class Reply:
    """A server's answer: `status`, `headers` by lower-case name (the hub's own are kept across redirects), `body`."""

    status: int
    headers: Mapping[str, str]
    body: IO[bytes]
    host: str

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. Raises Interrupted."""
        try:
            return self.body.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"{self.host} broke off ({_reason(error)}).") from None

    def number(self, name: str) -> int | None:
        """A header that is a count of bytes; None where it is absent or none."""
        text = self.headers.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.body.close()


def token() -> str:
    """The user's own key for the hub (HF_TOKEN), or nothing."""
    text = os.environ.get("HF_TOKEN", "").strip()
    return text if text.isascii() and text.isprintable() else ""


def check_address(url: str, *, after: str | None = None) -> str:
    """The host of an address that is allowed: https, or http on this machine (for a mirror of one's own).

    Raises:
        DownloadError: http on another machine, another scheme, or a password in the address.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018  (raises ValueError where it is none)
    except ValueError:
        raise DownloadError("This is no address; write https://HOST.") from None
    if "@" in parts.netloc:
        raise DownloadError(f"The address of {host} holds a user or a password; leave them out.")
    local = host in _LOCAL and (after is None or _is_local(after))
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        led = f"{urlsplit(after).hostname} sends to" if after else "That is"
        raise DownloadError(f"{led} {parts.scheme}://{host}; weights are taken over https alone.")
    return host


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in _LOCAL


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to allowed addresses, without the key to another host; keeps the hub's headers."""

    max_redirections = 5

    def __init__(self) -> None:
        self.linked: dict[str, str] = {}

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        check_address(newurl, after=req.full_url)
        self.linked |= {name: str(headers[name]) for name in LINKED if name in headers}
        new = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        key = req.unredirected_hdrs.get("Authorization")
        if new is not None and key and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
            new.add_unredirected_header("Authorization", key)
        return new


def ask(url: str, headers: Mapping[str, str] | None = None, *, key: str = "") -> Reply:
    """The answer to a GET.

    `key` goes to the host of `url` alone, as a bearer token; no error and no log names it.

    Raises:
        Unreachable, Interrupted, NotThere, or DownloadError for any other failure.
    """
    host = check_address(url)
    redirects = _Redirects()
    own = {"User-Agent": f"pixelsleuth/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers={**own, **(headers or {})})
    if key:
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    try:
        response = urllib.request.build_opener(redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code, host, url) from None
    except (OSError, http.client.HTTPException) as error:
        raise _failure(error, host) from None
    named = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, named | redirects.linked, response, urlsplit(response.url).hostname or host)


def ask_json(url: str, *, key: str = "") -> Any:
    """The JSON at an address. Raises what `ask` does, and DownloadError where the answer is no JSON."""
    with ask(url, key=key) as reply:
        text = b""
        while len(text) <= MOST_JSON and (more := reply.read(1 << 20)):
            text += more
    try:
        if len(text) > MOST_JSON:
            raise ValueError
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DownloadError(
            f"{reply.host} does not answer as a hub does; name another with --from."
        ) from None


def _refusal(code: int, host: str, url: str) -> DownloadError:
    what = urlsplit(url).path
    if code in (401, 403):
        return DownloadError(
            f"{host} gives {what} to registered users only ({code}): accept its terms there and set HF_TOKEN."
        )
    if code in (404, 410):
        return NotThere(f"{host} has no {what} ({code}); name another place with --from.")
    if code == 429 or code >= 500:
        return Interrupted(f"{host} is busy or broken ({code}).")
    if code == 416:
        return NotThere(f"{host} has a shorter {what} than the part fetched before ({code}).")
    return DownloadError(f"{host} refuses {what} ({code}); name another place with --from.")


def _failure(error: Exception, host: str) -> DownloadError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, DownloadError):
        return cause
    if isinstance(cause, ssl.SSLError):
        return DownloadError(f"{host} has no valid certificate ({_reason(cause)}); name another with --from.")
    if isinstance(cause, TimeoutError | ConnectionResetError | http.client.HTTPException):
        return Interrupted(f"{host} broke off or is silent ({_reason(cause)}).")
    if isinstance(cause, socket.gaierror):
        return Unreachable(f"{host} cannot be found, perhaps this machine is offline.")
    return Unreachable(f"{host} cannot be reached ({_reason(cause)}).")


def _reason(error: Any) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:200] or type(error).__name__
