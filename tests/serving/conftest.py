"""A real server on a free port, with the bundled detector; one for all files that one process runs."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

START_SECONDS = 120


@dataclass
class Served:
    """A running server: its address, its process and what it has logged."""

    url: str
    process: subprocess.Popen[str]
    log: list[dict[str, Any]] = field(default_factory=list)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


def serve(*options: str, folder: Path, wait: bool = True) -> Served:
    """Start `pixelsleuth serve` on a free port and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pixelsleuth", "serve", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    served = Served("", process)
    ready = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for text in process.stderr:
            line = json.loads(text) if text.startswith("{") else {"event": text}
            served.log.append(line)
            served.url = served.url or line.get("url", "")
            if line["event"] == ("ready" if wait else "listening"):
                ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    assert ready.wait(START_SECONDS)
    while process.poll() is None and not served.url:
        time.sleep(0.01)
    assert process.poll() is None, served.log
    return served


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """`serve` in a folder of its own; what still runs at the end is stopped."""
    servers: list[Served] = []

    def begin(*options: str, **extra: Any) -> Served:
        servers.append(
            serve(*options, folder=extra.pop("folder", tmp_path_factory.mktemp("served")), **extra)
        )
        return servers[-1]

    yield begin
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(start: Callable[..., Served]) -> Served:
    """The server that tests share."""
    return start("--model", "compact")


def jpeg(width: int = 96, height: int = 80, seed: int = 0) -> bytes:
    """A small photograph-like picture."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
    encoded = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=88)
    return encoded.getvalue()


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A JPEG that the bundled detector judges quickly."""
    return jpeg()
