"""Several service processes on one port, which share nothing but the socket; one that dies is started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from types import FrameType
from typing import Any

from pixelsleuth.errors import PixelSleuthError, UsageError
from pixelsleuth.serving import logs
from pixelsleuth.serving.running import listening, run_serve
from pixelsleuth.serving.settings import ServeOptions

QUICK_DEATHS = 3
"""Deaths of one process in a row, each soon after its start, after which the service gives up."""
SOON = 10.0
"""Seconds after its start for which a death counts as quick."""
TICK = 0.2
"""Seconds between two looks at the processes."""
WRONG_USAGE = 2
"""Exit status of a process whose settings cannot be used."""


def run_workers(options: ServeOptions) -> int:
    """Serve with `options.workers` processes until a signal; returns the exit status. Raises UsageError."""
    logs.set_up(names=options.log_names)
    return Workers(options).run()


class Workers:
    """The processes and the socket that they share."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.listener = listening(options.host, options.port)
        self.stopping = False
        self.processes: list[subprocess.Popen[bytes]] = []
        self.started: list[float] = []
        self.deaths: list[int] = []

    def run(self) -> int:
        """Start the processes, replace those that die, and pass the signal on."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for _ in range(self.options.workers):
                self.processes.append(self._new())
                self.started.append(time.monotonic())
                self.deaths.append(0)
            while not self.stopping:
                time.sleep(TICK)
                self._replace_dead()
            return 0
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.stopping = True

    def _new(self) -> subprocess.Popen[bytes]:
        handle = self.listener.fileno()
        settings = json.dumps(asdict(replace(self.options, workers=1)))
        command = [sys.executable, "-P", "-m", "pixelsleuth.serving.workers", str(handle), settings]
        return subprocess.Popen(command, pass_fds=(handle,), start_new_session=True)

    def _replace_dead(self) -> None:
        for place, process in enumerate(self.processes):
            if self.stopping or process.poll() is None:
                continue
            if process.returncode == WRONG_USAGE:  # it has said why, and would say it again
                raise UsageError("A process of the service could not start; its log says why.")
            quick = time.monotonic() < self.started[place] + SOON
            self.deaths[place] = self.deaths[place] + 1 if quick else 0
            if self.deaths[place] >= QUICK_DEATHS:
                raise UsageError(
                    f"A process of the service ended {QUICK_DEATHS} times right after its start."
                )
            logs.event("worker died", pid=process.pid, status=process.returncode)
            self.processes[place], self.started[place] = self._new(), time.monotonic()

    def _end(self) -> None:
        self.listener.close()
        for process in self.processes:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + self.options.grace + SOON
        for process in self.processes:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(handle: int, settings: str) -> int:
    """One of the processes: serve on a socket that it inherits."""
    values: dict[str, Any] = json.loads(settings)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return run_serve(ServeOptions(**values), socket.socket(fileno=handle), parent=os.getppid())
    except PixelSleuthError as error:
        print(f"Error: {error}", file=sys.stderr)
        return WRONG_USAGE


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
