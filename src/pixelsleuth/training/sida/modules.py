"""Which parameters learn: LoRA in the language model, the modules trained in full."""

from __future__ import annotations

import dataclasses
from collections import Counter

import torch
from torch import Tensor, nn

from pixelsleuth.errors import UsageError
from pixelsleuth.models.lora import add_lora
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.teacher import Batch, Losses, losses
from pixelsleuth.training.sida.config import MODULES, TrainConfig

UNUSED = "iou_prediction_head"
"""SAM's guess of its own IoU: nothing reads it, so it gets no gradient."""


class TrainModule(nn.Module):
    """A model whose forward pass is its losses, so that DDP, FSDP and DeepSpeed can wrap it."""

    def __init__(self, model: LargeSida) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> TrainModule:
        """Frozen encoders stay as they are; the language model's layers drop out where LoRA says so."""
        super().train(mode)
        self.model.clip.eval()
        self.model.sam.eval()
        return self

    def forward(self, batch: Batch, dense: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(detection, text, bce, dice) stacked (4,), and the class logits (B, 3)."""
        seen: list[Tensor] = []
        handle = self.model.sida.detection.register_forward_hook(lambda _m, _i, output: seen.append(output))
        try:
            terms: Losses = losses(self.model, batch, dense=dense)
        finally:
            handle.remove()
        return torch.stack([terms.detection, terms.text, terms.bce, terms.dice]), seen[0].detach().float()


def prepare(model: LargeSida, config: TrainConfig) -> TrainModule:
    """Freeze everything, put LoRA in, free the modules of `full`; frozen weights get their precision.

    Raises:
        UsageError: the start has no such module (an ablation without fusion), or LoRA's targets match nothing.
    """
    model.requires_grad_(False)
    if config.lora.rank:
        add_lora(model.sida.language.model, **dataclasses.asdict(config.lora), seed=config.seed + 1)
    for name in config.full:
        module = dict(model.named_modules()).get(MODULES[name])
        if module is None:
            raise UsageError(f"This model has no {name}: leave it out of full.")
        for inner, parameter in module.named_parameters():
            parameter.requires_grad_(UNUSED not in inner)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
        elif config.frozen == "bf16":
            parameter.data = parameter.data.to(torch.bfloat16)
    if config.frozen == "bf16":
        for buffer in [*model.clip.buffers(), *model.sam.buffers()]:
            if buffer.is_floating_point():
                buffer.data = buffer.data.to(torch.bfloat16)
    if config.gradient_checkpointing:
        model.sida.language.model.activation_checkpointing_enable({"use_reentrant": False})
    return TrainModule(model).train()


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name to parameter, of what learns."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


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
