"""Who may ask: keys, host names and origins. Everything that fails is answered before its body is read."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import Request

from pixelsleuth.errors import UsageError
from pixelsleuth.serving.problems import problem
from pixelsleuth.serving.settings import LOOPBACK, ServeOptions
from pixelsleuth.serving.shell import Receive, Send

PROTECTED = ("/v1/", "/metrics")
"""Beginnings of the paths that need a key, where keys are set: the page, its files and the health checks do not."""
SHORTEST_KEY = 16
"""Letters of a key, at least: a shorter one can be guessed."""
LARGEST_HEAD = 32 << 10
"""Bytes of the headers of a request."""
HEAD_TOO_LARGE = 431
READS = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware. Raises UsageError at the start for a file of keys that cannot be used."""

    def __init__(self, app: Callable[[Any, Receive, Send], Awaitable[None]], options: ServeOptions) -> None:
        self.app = app
        self.keys = keys_in(options.api_key_file) if options.api_key_file is not None else []
        self.hosts = allowed_hosts(options)
        self.origins = frozenset(options.cors_origins)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            refused = self._refused(request)
            if refused is not None:
                status, sentence = refused
                code = "bad_request" if status == HEAD_TOO_LARGE else "not_allowed"
                await problem(status, code, sentence, request)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _refused(self, request: Request) -> tuple[int, str] | None:
        """The status and the sentence for a request that may not pass, else None."""
        headers = request.headers
        if sum(len(name) + len(value) for name, value in headers.raw) > LARGEST_HEAD:
            return HEAD_TOO_LARGE, "The headers of the request are too large."
        if self.hosts and host_in(headers.get("host", "")) not in self.hosts:
            # A web page elsewhere can make its own name resolve to this machine (DNS rebinding).
            return 403, "This host name is not served; start the service with --allow-host NAME."
        origin = headers.get("origin")
        if (
            request.method not in READS
            and origin is not None
            and not self._known(origin, headers.get("host", ""))
        ):
            return 403, "A page of another site may not use this service; start it with --cors-origin ORIGIN."
        if self.keys and request.method != "OPTIONS" and path_of(request).startswith(PROTECTED):
            given = key_of(headers.get("authorization", ""), headers.get("x-api-key", ""))
            if not any(hmac.compare_digest(given, key) for key in self.keys):
                return 401, "A valid key is needed, as Authorization: Bearer KEY."
        return None

    def _known(self, origin: str, host: str) -> bool:
        """True for a page of this service itself, and for the origins of `--cors-origin`."""
        return origin in self.origins or origin.partition("://")[2].lower() == host.lower()


def path_of(request: Request) -> str:
    """The path inside the service, without the prefix of a proxy."""
    path, prefix = request.scope["path"], request.scope.get("root_path", "")
    return path.removeprefix(prefix) if prefix and path.startswith(prefix + "/") else path


def keys_in(path: str) -> list[bytes]:
    """The digests of the keys in a file, one key a line; # begins a comment. Raises UsageError."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UsageError(
            f"The file of keys {path} cannot be read ({reason}); name one with --api-key-file."
        ) from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys or any(len(key) < SHORTEST_KEY for key in keys):
        raise UsageError(f"{path} wants one key a line, each of at least {SHORTEST_KEY} letters.")
    return [digest(key) for key in keys]


def key_of(authorization: str, key: str) -> bytes:
    """The digest of the key in a request's headers."""
    scheme, _, credentials = authorization.partition(" ")
    return digest(credentials.strip() if scheme.lower() == "bearer" else key.strip())


def digest(key: str) -> bytes:
    """A key as it is compared: of one length, so that the comparison tells nothing."""
    return hashlib.sha256(key.encode()).digest()


def allowed_hosts(options: ServeOptions) -> frozenset[str]:
    """The host names that requests may be addressed to; empty: any.

    >>> sorted(allowed_hosts(ServeOptions()))
    ['127.0.0.1', '::1', 'localhost']
    """
    if options.host not in LOOPBACK and not options.allow_hosts:
        return frozenset()
    return frozenset((*LOOPBACK, options.host, *(name.lower() for name in options.allow_hosts)))


def host_in(header: str) -> str:
    """The name in a Host header, without its port.

    >>> host_in("LocalHost:8000"), host_in("[::1]:8000"), host_in("::1")
    ('localhost', '::1', '::1')
    """
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text if text.count(":") > 1 else text.partition(":")[0]
