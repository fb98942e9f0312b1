"""LoRA in a language model, and folding it away (Hu et al., ICLR 2022; peft's implementation)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from pixelsleuth.errors import UsageError


def add_lora(
    language: nn.Module, *, rank: int, alpha: float, dropout: float, targets: Sequence[str], seed: int
) -> None:
    """Put LoRA into the layers of `language` that `targets` name, and freeze its other parameters.

    Raises:
        UsageError: no layer has such a name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), bias="none"
    )
    torch.manual_seed(seed)
    try:
        inject_adapter_in_model(settings, language)
    except ValueError:
        names = ", ".join(targets)
        raise UsageError(f"The language model has no layer named {names}: correct lora.targets.") from None
    for name, parameter in language.named_parameters():
        parameter.requires_grad_("lora_" in name)


def fold(model: nn.Module, language: nn.Module) -> int:
    """Fold LoRA into the weights of `model`, in place, and return how many layers had LoRA.

    `language` is the module that `add_lora` was called with.
    """
    from peft.tuners.lora import LoraLayer

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in layers:
        parent, _, attribute = name.rpartition(".")
        layer.to(torch.float32)
        layer.merge()
        setattr(model.get_submodule(parent), attribute, layer.get_base_layer())
    if hasattr(language, "peft_config"):
        del language.peft_config
    return len(layers)
