"""What surrounds every request: its id, security headers, the bound on its body, and a quiet end of refused uploads."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from pixelsleuth.serving import logs
from pixelsleuth.serving.problems import unforeseen

if TYPE_CHECKING:
    from pixelsleuth.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The content security policy: nothing from elsewhere, no inline script."""
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(self), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}
"""Headers of every response that does not set them itself."""
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
REJECTED = {413: "body_too_large", 429: "busy", 503: "unavailable"}
"""Statuses of what is refused for its size or for lack of room, and their names in `/metrics`."""
PROBES = ("/healthz", "/readyz", "/metrics")
"""Routes that machines ask every few seconds; the log leaves them out."""
LINGER_SECONDS, LINGER_BYTES = 1.0, 4 << 20
"""How long, and for how many bytes, the rest of a refused body is read: a client that is cut off while it sends may
never see the answer."""


class BrokenOff(Exception):  # noqa: N818  (the name says what happened)
    """An answer that could not be completed; it carries no words of what failed."""


class Shell:
    """ASGI middleware around the whole application."""

    def __init__(self, app: Callable[[Any, Receive, Send], Awaitable[None]], metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception as error:
            logs.failed("a request failed", error, id=exchange.id)
            if exchange.status:  # the answer has begun: only breaking it off tells the client
                raise BrokenOff from None
            await unforeseen(Request(scope))(scope, exchange.receive, exchange.send)
        finally:
            self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        route, method = exchange.route, exchange.scope["method"]
        seconds = (exchange.ended or time.monotonic()) - exchange.started
        status = 499 if exchange.gone and exchange.status < 500 else exchange.status
        self.metrics.requests.labels(route, method if method in METHODS else "other", status).inc()
        self.metrics.latency.labels(route).observe(seconds)
        if status in REJECTED:
            self.metrics.rejected.labels(REJECTED[status]).inc()
        if route in PROBES:
            return
        logs.event(
            "request",
            id=exchange.id,
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            **exchange.scope.get("facts", {}),
        )


class Exchange:
    """One request and its response."""

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.started = time.monotonic()
        self.status, self.ended = 0, 0.0
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        self.id = given.decode() if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["request_id"] = self.id
        length = headers.get(b"content-length", b"0")
        self._coming = int(length) if length.isdigit() else math.inf
        self._coming = math.inf if b"transfer-encoding" in headers else self._coming
        self._waits = b"expect" in headers and self._coming > 0
        self._unread = self._coming > 0 and not self._waits
        self.gone = False

    @property
    def route(self) -> str:
        """The path of the route, not of the request: a request's path may hold an id that only its owner knows."""
        return getattr(self.scope.get("route"), "path", "") or "other"

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone, self._unread = not self.status, False
        else:
            self._waits = False
            self._coming -= len(message.get("body", b""))
            self._unread = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = {name.lower() for name, _ in message["headers"]}
            more = [(name, value) for name, value in HEADERS.items() if name not in names]
            if self._waits or (self._unread and self._coming > LINGER_BYTES):
                more.append((b"connection", b"close"))  # its body will not be read to the end
            message["headers"] = [*message["headers"], *more, (b"x-request-id", self.id.encode())]
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            self.ended = time.monotonic()
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _linger(self) -> None:
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._unread and size < LINGER_BYTES:
                    size += len((await self.receive()).get("body", b""))
