"""Starts `pixelsleuth train` in several processes (gloo, CPU), as torchrun would, without its agent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(recipe: Path, processes: int, *words: str) -> list[subprocess.Popen[bytes]]:
    """The running processes of a training; `words` are overrides and options."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    ranks = [{"RANK": str(r), "LOCAL_RANK": str(r), "WORLD_SIZE": str(processes)} for r in range(processes)]
    command = [sys.executable, "-m", "pixelsleuth", "train", str(recipe), *words]
    return [
        subprocess.Popen(command, env={**common, **rank}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for rank in ranks
    ]


def ended(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended well."""
    try:
        for process in processes:
            _, errors = process.communicate(timeout=280)
            assert process.returncode == 0, errors.decode()[-2000:]
    finally:
        for process in processes:
            process.kill()
