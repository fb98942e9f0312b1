"""Runs the service in this process, and stops it without breaking off what it has accepted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from pixelsleuth.errors import UsageError
from pixelsleuth.serving import logs
from pixelsleuth.serving.app import make_app
from pixelsleuth.serving.guard import LARGEST_HEAD
from pixelsleuth.serving.service import Service
from pixelsleuth.serving.settings import ServeOptions

TICKS_OF_SWEEP = 300
"""Ticks of the server, ten a second, between two looks for verdicts that are no longer kept."""
BACKLOG = 2048
"""Connections that wait to be taken."""
IDLE_SECONDS = 75
"""Seconds for which a connection without a request stays open."""


class Server(uvicorn.Server):
    """A server that drains: at a signal it refuses new work with 503, answers what it has accepted, then ends."""

    def __init__(self, config: uvicorn.Config, service: Service, parent: int | None) -> None:
        super().__init__(config)
        self.service, self.parent = service, parent
        self._drained_by = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.draining:  # a second signal
            self.should_exit = self.force_exit = True
            return
        self.service.draining = True
        logs.event("draining", accepted=self.service.gate.inside)
        self._drained_by = time.monotonic() + self.service.options.grace

    async def on_tick(self, counter: int) -> bool:
        if self.parent is not None and os.getppid() != self.parent and not self.service.draining:
            self.handle_exit(signal.SIGTERM, None)  # nobody would end this process any more
        if self.service.draining and (not self.service.gate.inside or time.monotonic() > self._drained_by):
            self.should_exit = True
        if counter % TICKS_OF_SWEEP == 0:
            self.service.shelf.sweep()
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while the server runs. They are not raised again."""
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UsageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # asyncio sends without delay (TCP_NODELAY) only where the protocol is named; else answers wait 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"The service cannot listen on {host}, port {port} ({reason}); choose another --port (0 takes a free one) "
            "or --host."
        ) from None
    name, number = listener.getsockname()[:2]
    logs.event("listening", url=f"http://{f'[{name}]' if ':' in name else name}:{number}")
    return listener


def run_serve(
    options: ServeOptions, listener: socket.socket | None = None, *, parent: int | None = None
) -> int:
    """Serve until a signal; returns the exit status. `parent`: the process with whose end this one ends.

    Raises UsageError where it cannot listen, and the error that keeps a model from being loaded.
    """
    logs.set_up(names=options.log_names)
    listener = listener or listening(options.host, options.port)
    service = Service(options)
    config = uvicorn.Config(
        make_app(service),
        loop="asyncio",
        http="h11",
        ws="none",
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=1,
        server_header=False,
        access_log=False,
        log_config=None,
    )
    server = Server(config, service, parent)

    def stop() -> None:
        server.should_exit = True

    service.start(failed=stop)
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        service.close()
    if service.failure is not None:
        raise service.failure
    return 0
