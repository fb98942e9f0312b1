"""Several processes on one port: one that dies is replaced, a signal ends all, a hopeless one ends the service."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from pixelsleuth.errors import UsageError
from pixelsleuth.serving import workers
from pixelsleuth.serving.running import listening
from pixelsleuth.serving.settings import ServeOptions
from pixelsleuth.serving.workers import Workers


def made(monkeypatch: pytest.MonkeyPatch, code: str) -> Workers:
    """Two processes that run `code` in place of the service."""
    monkeypatch.setattr(workers, "TICK", 0.01)
    new = Workers(ServeOptions(port=0, workers=2, grace=5))
    monkeypatch.setattr(new, "_new", lambda: subprocess.Popen([sys.executable, "-S", "-c", code]))
    return new


def beside(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_process_that_dies_is_replaced_and_a_signal_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    new = made(monkeypatch, "import time; time.sleep(60)")
    seen: list[int] = []

    def kill_one() -> None:
        while len(new.deaths) < 2:
            time.sleep(0.01)
        seen.extend(process.pid for process in new.processes)
        new.processes[0].kill()
        while new.processes[0].pid == seen[0]:
            time.sleep(0.01)
        seen.append(new.processes[0].pid)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = beside(kill_one)
    assert new.run() == 0
    thread.join(10)
    assert len(set(seen)) == 3
    assert all(process.poll() is not None for process in new.processes)


@pytest.mark.parametrize("status", [workers.WRONG_USAGE, 1])
def test_a_process_that_cannot_start_ends_the_service(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with pytest.raises(UsageError, match=r"could not start|right after its start"):
        made(monkeypatch, f"raise SystemExit({status})").run()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="another --port"):
        listening("127.0.0.1", taken.getsockname()[1])
