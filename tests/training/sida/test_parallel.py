"""Two processes (gloo, CPU) on the same global batch give the losses of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pixelsleuth.training.run import checkpoints
from pixelsleuth.training.run.log import read_log
from pixelsleuth.training.sida.settings import read_settings
from pixelsleuth.training.sida.step import train

ROOT = Path(__file__).resolve().parents[3]
OVERRIDES = (
    "steps=3", "global_batch=6", "per_device=2", "lora.dropout=0", "batches=grouped", "workers=1",
    "checkpoints.every=2", "optimiser.warmup=0",
)  # fmt: skip


def start(manifest: Path, out: Path, processes: int, *more: str) -> list[subprocess.Popen[bytes]]:
    """What torchrun would start, without its agent."""
    words = [
        sys.executable,
        "-m",
        "pixelsleuth",
        "train",
        str(ROOT / "recipes/tiny.yaml"),
        f"data={manifest}",
    ]
    words += [f"out={out}", *OVERRIDES, *more]
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
    return [subprocess.Popen(words, env={**common, **rank}, stderr=subprocess.PIPE) for rank in ranks]


def ended(processes: list[subprocess.Popen[bytes]]) -> None:
    try:
        for process in processes:
            _, errors = process.communicate(timeout=280)
            assert process.returncode == 0, errors.decode()[-2000:]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(manifest: Path, tmp_path: Path) -> None:
    """Micro-batches hold one class each, so that in every step one process has no mask in its last one."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    running = start(manifest, shared, 2)
    train(read_settings(ROOT / "recipes/tiny.yaml", [f"data={manifest}", f"out={alone}", *OVERRIDES]))
    ended(running)
    keys = ("loss", "detection", "text", "bce", "dice", "gradient_norm", "correct")
    values = [
        np.array([[line[key] for key in keys] for line in read_log(out / "log.jsonl")])
        for out in (alone, shared)
    ]
    assert values[0].shape == (3, len(keys))
    np.testing.assert_allclose(values[1], values[0], rtol=3e-4, atol=1e-6)
    weights = [
        checkpoints.read(out / "checkpoints" / "step-0000003")[1]["trained"] for out in (alone, shared)
    ]
    # Adam's first steps move by the sign of a gradient: what differs by rounding alone stays within a few of them
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name].numpy(), value.numpy(), atol=4e-3)
    assert (shared / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_cannot_share_an_odd_batch(manifest: Path, tmp_path: Path) -> None:
    for process in start(manifest, tmp_path / "odd", 2, "global_batch=5"):
        _, errors = process.communicate(timeout=280)
        assert process.returncode == 2
        assert b"cannot be shared evenly between 2 processes" in b" ".join(errors.split())
