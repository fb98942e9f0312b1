"""Two processes (gloo, CPU) on the same global batch give the losses of one, with the model whole or cut apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from several_processes import ended, start

from pixelsleuth.training.run import checkpoints
from pixelsleuth.training.run.log import read_log
from pixelsleuth.training.sida.settings import read_settings
from pixelsleuth.training.sida.step import train

ROOT = Path(__file__).resolve().parents[3]
OVERRIDES = (
    "steps=4", "global_batch=6", "per_device=2", "lora.dropout=0", "batches=grouped", "workers=1",
    "checkpoints.every=2", "checkpoints.keep=3", "optimiser.warmup=0", "validation.every=4",
    "validation.hold_out=0.25", "validation.pictures=3", "validation.texts=3",
)  # fmt: skip
"""Micro-batches hold one class each: of two processes, one has no mask in its last micro-batch."""
KEYS = ("loss", "detection", "text", "bce", "dice", "gradient_norm", "correct")
RECIPE = ROOT / "recipes/tiny.yaml"


def figures(out: Path) -> np.ndarray:
    """The figures of every step, (steps, len(KEYS))."""
    return np.array([[line[key] for key in KEYS] for line in read_log(out / "log.jsonl")])


def parts(out: Path, step: int) -> dict[str, dict[str, torch.Tensor]]:
    return checkpoints.read(out / "checkpoints" / f"step-{step:07d}")[1]


@pytest.fixture(scope="module")
def alone(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training in one process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    train(read_settings(RECIPE, [f"data={manifest}", f"out={out}", *OVERRIDES]))
    return out


def ensure_as(alone: Path, out: Path) -> None:
    """The same figures of all steps and of the validation, the same weights, and a model to judge with."""
    assert figures(alone).shape == (4, len(KEYS))
    np.testing.assert_allclose(figures(out), figures(alone), rtol=3e-4, atol=1e-6)
    validations = [read_log(folder / "validation.jsonl") for folder in (alone, out)]
    assert [sorted(line.items()) for line in validations[1]] == [
        sorted((key, pytest.approx(value, abs=1e-3)) for key, value in line.items())
        for line in validations[0]
    ]
    expected, reached = parts(alone, 4), parts(out, 4)
    assert expected["optimiser"].keys() == reached["optimiser"].keys()
    # Adam's first steps move by the sign of a gradient: what differs by rounding alone stays within a few of them
    for name, value in expected["trained"].items():
        np.testing.assert_allclose(reached["trained"][name].numpy(), value.numpy(), atol=4e-3)
    models = [load_file(folder / "model" / "model.safetensors") for folder in (alone, out)]
    assert models[0].keys() == models[1].keys()
    for name, value in models[0].items():
        np.testing.assert_allclose(models[1][name].numpy(), value.numpy(), atol=4e-3)


def at_step_2(source: Path, out: Path) -> Path:
    """A copy of a training as it was after two steps."""
    shutil.copytree(source, out)
    for path in [*(out / "checkpoints").glob("*-0000004"), out / "model"]:
        shutil.rmtree(path)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_give_the_losses_of_one(how: str, manifest: Path, alone: Path, tmp_path: Path) -> None:
    """What they leave goes on in one process: a checkpoint does not depend on who wrote it."""
    shared = tmp_path / "shared"
    ended(start(RECIPE, 2, f"data={manifest}", f"out={shared}", *OVERRIDES, f"parallel={how}"))
    ensure_as(alone, shared)
    out = at_step_2(shared, tmp_path / "resumed")
    train(read_settings(RECIPE, [f"data={manifest}", f"out={out}", *OVERRIDES]), resume=True)
    ensure_as(alone, out)


@pytest.mark.slow
def test_a_training_of_one_process_goes_on_in_two_that_share_the_model(
    manifest: Path, alone: Path, tmp_path: Path
) -> None:
    out = at_step_2(alone, tmp_path / "resumed")
    ended(start(RECIPE, 2, f"data={manifest}", f"out={out}", *OVERRIDES, "parallel=fsdp", "--resume"))
    ensure_as(alone, out)


@pytest.mark.slow
def test_two_processes_cannot_share_an_odd_batch(manifest: Path, tmp_path: Path) -> None:
    for process in start(RECIPE, 2, f"data={manifest}", f"out={tmp_path}", "global_batch=5"):
        _, errors = process.communicate(timeout=280)
        assert process.returncode == 2
        assert b"cannot be shared evenly between 2 processes" in b" ".join(errors.split())
