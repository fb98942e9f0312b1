"""From a checkpoint of a training to a model that `check --model` takes: the start, what was learnt, LoRA folded in."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pixelsleuth.errors import OutputError, UsageError
from pixelsleuth.models.lora import fold
from pixelsleuth.models.sida.checkpoint import save_large
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.training.run import checkpoints
from pixelsleuth.training.run.plots import plot_log
from pixelsleuth.training.sida.config import from_dict
from pixelsleuth.training.sida.modules import prepare, trained
from pixelsleuth.training.sida.start import load_start

if TYPE_CHECKING:
    from pixelsleuth.training.sida.loop import Training


def assemble(checkpoint: Path, *, start: str | None = None) -> tuple[LargeSida, SidaProcessor, int]:
    """The whole model of a checkpoint, LoRA folded in, and how many layers had some.

    Args:
        checkpoint: a folder that `checkpoints.read` reads.
        start: what the training began with, where it has moved since.

    Raises:
        UsageError: the checkpoint or its start is missing or damaged, or they do not fit.
    """
    facts, tensors = checkpoints.read(checkpoint)
    try:
        config = from_dict(facts["config"])
    except KeyError:
        raise UsageError(f"{checkpoint / 'state.json'} does not say how it was trained.") from None
    config = dataclasses.replace(
        config, out=str(checkpoint.resolve().parents[1]), start=start or config.start
    )
    model, processor = load_start(config)
    module = prepare(model, config)
    checkpoints.restore_weights(trained(module), tensors["trained"], str(checkpoint))
    folded = fold(model, model.sida.language.model)
    dtype = torch.float32 if config.frozen == "fp32" else torch.bfloat16
    return model.to(dtype).eval().requires_grad_(False), processor, folded


def start_of(checkpoint: Path) -> str:
    """What a checkpoint's training began with: a folder, a hub id, or "random"."""
    facts, _ = checkpoints.read(checkpoint)
    return str((facts.get("config") or {}).get("start", ""))


def finish(training: Training) -> None:
    """Leave plots, and `OUT/model`: the best checkpoint merged where there was a validation, else the last."""
    training.accelerator.wait_for_everyone()
    if not training.main:
        return
    checkpoint = checkpoints.find(training.out)
    assert checkpoint is not None  # the last step wrote one
    model, processor, _ = assemble(checkpoint)
    partial, target = training.out / "model.partial", training.out / "model"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        save_large(model, processor, partial)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        plot_log(training.out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(
            f"The model cannot be written to {target} ({error.strerror}): free some space and go on with --resume."
        ) from None
