"""The arguments of transformers' `from_pretrained`, in our words: device and precision; unknown ones are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pixelsleuth.errors import UsageError
from pixelsleuth.models.precision import PRECISIONS

DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
IGNORED = frozenset(
    ("adapter_kwargs", "code_revision", "config", "low_cpu_mem_usage", "trust_remote_code", "use_safetensors",
     "weights_only")
)  # fmt: skip
"""Arguments of transformers' `from_pretrained` that change nothing here: no code of a checkpoint is ever run."""


def device_of(device: str, others: dict[str, Any]) -> str:
    """The device, also out of transformers' `device_map`. Raises UsageError for one that spreads a model."""
    mapped = others.pop("device_map", None)
    if isinstance(mapped, Mapping) and set(mapped) == {""}:
        mapped = mapped[""]
    chosen = device if mapped is None else str(mapped)
    chosen = "cuda" if chosen in ("0", "cuda:0") else chosen
    if chosen not in ("auto", "cpu", "cuda"):
        raise UsageError(f"The model stands on one device: auto, cpu or cuda, not {chosen!r}.")
    return chosen


def precision_of(dtype: torch.dtype | str | None, precision: str, others: dict[str, Any]) -> str:
    """The precision under our names. Raises UsageError for one that SIDA is not run in."""
    wanted = others.pop("torch_dtype", None) or dtype
    if precision != "auto":
        if precision not in PRECISIONS:
            raise UsageError(
                f"Unknown precision {precision!r}; choose auto or one of {', '.join(PRECISIONS)}."
            )
        return precision
    if wanted in (None, "auto"):
        return "auto"
    value = getattr(torch, wanted, None) if isinstance(wanted, str) else wanted
    if value not in DTYPES:
        raise UsageError(f"SIDA runs in torch.float32 or torch.bfloat16, not in {wanted}.")
    return DTYPES[value]


def refuse_unknown(others: Mapping[str, Any]) -> None:
    """Raise UsageError for arguments that neither transformers nor this model knows."""
    unknown = [name for name in others if name not in IGNORED and not name.startswith("_")]
    if unknown:
        raise UsageError(f"SidaForForensics.from_pretrained does not know {', '.join(sorted(unknown))}.")
