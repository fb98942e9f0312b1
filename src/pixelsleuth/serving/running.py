"""Runs the service in this process, and stops it without breaking off what it has accepted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn

from pixelsleuth.serving import logs
from pixelsleuth.serving.app import make_app
from pixelsleuth.serving.service import Service
from pixelsleuth.serving.settings import ServeOptions

LARGEST_HEAD = 32 << 10
"""Bytes of a request line with its headers."""
TICKS_OF_SWEEP = 300
"""Ticks of the server, ten a second, between two looks for verdicts that are no longer kept."""
IDLE_SECONDS = 75
"""Seconds for which a connection without a request stays open."""


class Server(uvicorn.Server):
    """A server that drains: at a signal it refuses new work with 503, answers what it has accepted, then ends."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self._drained_by = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.draining:  # a second signal
            self.should_exit = self.force_exit = True
            return
        self.service.draining = True
        logs.event("draining", accepted=self.service.gate.inside)
        self._drained_by = time.monotonic() + self.service.options.grace

    def _log_started_message(self, listeners: Sequence[socket.SocketType]) -> None:
        for listener in listeners:
            host, port = listener.getsockname()[:2]
            logs.event(
                "listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}", pid=os.getpid()
            )

    async def on_tick(self, counter: int) -> bool:
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


def run_serve(options: ServeOptions) -> int:
    """Serve until a signal; returns the exit status. Raises the error that keeps a model from being loaded."""
    logs.set_up(names=options.log_names)
    service = Service(options)
    config = uvicorn.Config(
        make_app(service),
        host=options.host,
        port=options.port,
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
    server = Server(config, service)

    def stop() -> None:
        server.should_exit = True

    service.start(failed=stop)
    try:
        asyncio.run(server.serve())
    finally:
        service.close()
    if service.failure is not None:
        raise service.failure
    return 0
