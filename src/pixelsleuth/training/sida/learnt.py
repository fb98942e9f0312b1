"""Which parameters learn (LoRA in the language model, the modules trained in full), and the model that they make."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

from pixelsleuth.errors import UsageError
from pixelsleuth.models.lora import add_lora, fold
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.teacher import Batch, losses
from pixelsleuth.training.run import checkpoints
from pixelsleuth.training.sida.settings import MODULES, SidaSettings, from_dict
from pixelsleuth.training.sida.start import load_start

UNUSED = "iou_prediction_head"
"""SAM's guess of its own IoU: nothing reads it, so it gets no gradient."""


class TrainModule(nn.Module):
    """A model whose forward pass is its losses, so that DDP and FSDP can hook into it."""

    def __init__(self, model: LargeSida) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> TrainModule:
        """Frozen encoders stay as they are; the language model's layers drop out where LoRA says so."""
        super().train(mode)
        self.model.clip.eval()
        self.model.sam.eval()
        return self

    def forward(
        self, batch: Batch, dense: Tensor | None = None, *, masks_elsewhere: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(detection, text, bce, dice) stacked (4,), and the class logits (B, 3).

        With `masks_elsewhere`, what draws masks gets a gradient, zero where this batch has no mask: FSDP sums gradients
        of all processes, and waits for ever for one that has none.
        """
        terms, classes = losses(self.model, batch, dense=dense)
        stacked = torch.stack([terms.detection, terms.text, terms.bce, terms.dice])
        if masks_elsewhere:
            sida = self.model.sida
            drawing = [part.parameters() for part in (sida.decoder, sida.segmentation, sida.fusion)]
            learnt = [value for values in drawing for value in values if value.requires_grad]
            stacked = stacked + 0 * sum(value.sum() for value in learnt)
        return stacked, classes.detach().float()


def prepare(model: LargeSida, settings: SidaSettings) -> TrainModule:
    """The model with its losses: all frozen but LoRA and the modules of `full`; frozen weights get their precision.

    Raises:
        UsageError: the start has no such module (an ablation without fusion), or LoRA's targets match nothing.
    """
    model.requires_grad_(False)
    if settings.lora.rank:
        add_lora(model.sida.language.model, **dataclasses.asdict(settings.lora), seed=settings.seed + 1)
    for name in settings.full:
        module = dict(model.named_modules()).get(MODULES[name])
        if module is None:
            raise UsageError(f"This model has no {name}: leave it out of full.")
        for inner, parameter in module.named_parameters():
            parameter.requires_grad_(UNUSED not in inner)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
        elif settings.frozen == "bf16":
            parameter.data = parameter.data.to(torch.bfloat16)
    if settings.frozen == "bf16":
        for buffer in [*model.clip.buffers(), *model.sam.buffers()]:
            if buffer.is_floating_point():
                buffer.data = buffer.data.to(torch.bfloat16)
    if settings.gradient_checkpointing:
        model.sida.language.model.activation_checkpointing_enable({"use_reentrant": False})
    return TrainModule(model).train()


def table(model: nn.Module) -> list[tuple[str, int, int]]:
    """(module, parameters, of them trained) for the dry run, in the model's order."""
    whole: Counter[str] = Counter()
    learns: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        parts = name.removeprefix("model.").split(".")
        if parts[0] != "sida":
            key = parts[0]
        elif parts[1] == "language":
            inner = "LoRA" if "lora_" in name else parts[2] if parts[2] == "lm_head" else parts[3]
            key = f"language model: {inner}"
        else:
            key = {"decoder": "mask decoder"}.get(parts[1], parts[1])
        whole[key] += parameter.numel()
        learns[key] += parameter.numel() * parameter.requires_grad
    return [(name, count, learns[name]) for name, count in whole.items()]


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
        settings = from_dict(facts["config"])
    except KeyError:
        raise UsageError(f"{checkpoint / 'state.json'} does not say how it was trained.") from None
    settings = dataclasses.replace(
        settings, out=str(checkpoint.resolve().parents[1]), start=start or settings.start
    )
    model, processor = load_start(settings)
    module = prepare(model, settings)
    checkpoints.restore_weights(checkpoints.trained(module), tensors["trained"], str(checkpoint))
    folded = fold(model, model.sida.language.model)
    dtype = torch.float32 if settings.frozen == "fp32" else torch.bfloat16
    return model.to(dtype).eval().requires_grad_(False), processor, folded


def start_of(checkpoint: Path) -> str:
    """What a checkpoint's training began with: a folder, a hub id, or "random"."""
    facts, _ = checkpoints.read(checkpoint)
    return str((facts.get("config") or {}).get("start", ""))
