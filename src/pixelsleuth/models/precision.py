"""Where the weights go and how many bits they keep: device, precision, bitsandbytes' linear layers, memory.

Under int8 and int4 the language model's layers are compressed; CLIP, SAM, heads and embeddings stay in bf16. The memory
that a model needs is an estimate: its weights, and a constant for the work on one picture (mostly SAM's attention).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

PRECISIONS = ("fp32", "bf16", "int8", "int4")
BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.05, "int4": 0.57}
"""Bytes a compressible parameter takes; int8 and int4 with their scales."""
WORKING = {"fp32": 3_000_000_000, "bf16": 1_500_000_000, "int8": 1_500_000_000, "int4": 1_500_000_000}
"""Bytes for one picture on the way, in models of more than a billion parameters."""


def place(device: str, precision: str) -> tuple[str, str, torch.dtype]:
    """Device, precision and dtype; precision "auto" is bf16 on a GPU and fp32 on a CPU.

    Raises:
        UsageError: a GPU is needed and there is none, or bitsandbytes is missing.
    """
    import torch

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
    """Replace every linear layer in `layers` by bitsandbytes' of 8 or 4 bits; they shrink when moved to the GPU."""
    import torch
    from torch import nn

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


def needed(parameters: int, compressible: int, precision: str) -> int:
    """Estimated bytes of memory; parameters that are not compressible stay in bf16 under int8 and int4.

    >>> round(needed(7_700_000_000, 6_476_000_000, "bf16") / 1e9, 1)
    16.9
    """
    plain = 4.0 if precision == "fp32" else 2.0
    weights = compressible * BYTES[precision] + (parameters - compressible) * plain
    return int(weights + WORKING[precision] * min(1.0, parameters / 1e9))


def free_main_memory() -> int | None:
    """Free bytes of main memory; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as handle:
            lines = dict(line.split(":", 1) for line in handle)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def too_little(name: str, choices: Mapping[str, int], precision: str, free: int) -> str:
    """The sentence for a model that does not fit: what it needs, what there is, which choice fits.

    >>> print(too_little("sida-7b", {"bf16": 17_000_000_000, "int4": 7_600_000_000}, "bf16", 8_000_000_000))
    sida-7b needs about 17.0 GB at bf16 and 8.0 GB are free: --precision int4 (about 7.6 GB) fits.
    """
    fitting = [
        (size, choice) for choice, size in choices.items() if size <= free and size < choices[precision]
    ]
    if fitting:
        size, choice = max(fitting)
        advice = f"--precision {choice} (about {size / 1e9:.1f} GB) fits"
    else:
        advice = "no precision of it fits; a smaller model does, see 'pixelsleuth models'"
    need = f"{name} needs about {choices[precision] / 1e9:.1f} GB at {precision}"
    return f"{need} and {free / 1e9:.1f} GB are free: {advice}."


def ensure_memory(name: str, parameters: int, compressible: int, precision: str, device: str) -> None:
    """Refuse a model that does not fit into the memory that is free, before minutes of loading.

    Raises:
        UsageError: it does not fit; the sentence says which precision does.
    """
    import torch

    choices = {kind: needed(parameters, compressible, kind) for kind in PRECISIONS}
    free: int | None
    if device != "cpu":
        free = torch.cuda.mem_get_info()[0]
    else:
        free = free_main_memory()
        choices = {kind: size for kind, size in choices.items() if kind in ("fp32", "bf16")}
    if free is not None and choices[precision] > free:
        raise UsageError(too_little(name, choices, precision, free))


def ensure_room(parameters: int, name: str, *, bytes_each: float = 4.0) -> None:
    """Refuse a model whose parameters main memory cannot hold, before they are allocated.

    Raises:
        UsageError: it does not fit; the sentence says what it would take.
    """
    free, needed = free_main_memory(), parameters * bytes_each
    if free is not None and needed > free:
        raise UsageError(
            f"{name} describes a model of {needed / 1e9:,.1f} GB, and {free / 1e9:.1f} GB are free: close other "
            "programs, or copy or download it again if it should be smaller."
        )
