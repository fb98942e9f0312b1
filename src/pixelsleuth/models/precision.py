"""Where the weights go and how many bits they keep: device, precision, and bitsandbytes' linear layers.

Under int8 and int4 the language model's layers are compressed; CLIP, SAM, heads and embeddings stay in bf16.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from pixelsleuth.errors import UsageError

PRECISIONS = ("fp32", "bf16", "int8", "int4")


def place(device: str, precision: str) -> tuple[str, str, torch.dtype]:
    """Device, precision and dtype for what was asked: bf16 on a GPU and fp32 on a CPU where it is "auto".

    Raises:
        UsageError: no GPU where one is asked or needed, or bitsandbytes is missing.
    """
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise UsageError("torch finds no CUDA device: use --device cpu, or install a CUDA build of torch.")
    where = "cuda" if device != "cpu" and gpu else "cpu"
    kind = precision if precision != "auto" else "bf16" if where == "cuda" else "fp32"
    if kind in ("int8", "int4"):
        if where != "cuda":
            raise UsageError(f"--precision {kind} needs a CUDA device: use bf16 or fp32 here.")
        if find_spec("bitsandbytes") is None:
            raise UsageError(f"--precision {kind} needs bitsandbytes: pip install bitsandbytes, or use bf16.")
    return where, kind, torch.float32 if kind == "fp32" else torch.bfloat16


def compress(layers: nn.Module, precision: str) -> None:
    """Replace every linear layer inside `layers` by bitsandbytes' of 8 or 4 bits; they shrink when moved to the GPU."""
    bnb: Any = import_module("bitsandbytes")
    for parent in list(layers.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear:
                continue
            has_bias = child.bias is not None
            if precision == "int8":
                new = bnb.nn.Linear8bitLt(
                    child.in_features, child.out_features, bias=has_bias, has_fp16_weights=False
                )
                new.weight = bnb.nn.Int8Params(child.weight.data, requires_grad=False, has_fp16_weights=False)
            else:
                new = bnb.nn.Linear4bit(
                    child.in_features,
                    child.out_features,
                    bias=has_bias,
                    compute_dtype=torch.bfloat16,
                    quant_type="nf4",
                )
                new.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4")
            if has_bias:
                new.bias = child.bias
            setattr(parent, name, new)
