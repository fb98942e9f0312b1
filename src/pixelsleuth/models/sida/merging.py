"""Fold LoRA into the weights, and read the ZeRO folder that the authors' training leaves behind.

The authors run DeepSpeed's `zero_to_fp32.py` and a merge script that needs their whole training set-up. Here the
tensors are read as they are, without DeepSpeed and without executing anything in them.

A ZeRO rank (stages 1 and 2) keeps a slice of each parameter group as one flat fp32 tensor. The model file names the
group's parameters and their shapes in order, and holds all weights in 16 bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.sida.checkpoint import CHECKPOINT_FILES, load_large
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.tensor_files import load_pickle
from pixelsleuth.models.weights import Shards

LORA = re.compile(r"(.*)\.lora_([AB])(?:\.[^.]+)?\.weight$")


class Merged:
    """Tensors in memory with LoRA folded in, read like `Shards`: `names`, `shape(name)`, `tensors()`.

    Args:
        tensors: keys of the release, with or without peft's prefixes and LoRA's pairs.
        alpha: LoRA's alpha; the update is alpha / rank * B @ A.

    Raises:
        UsageError: half of a LoRA pair, or the weight that it changes, is missing.
    """

    def __init__(self, tensors: Mapping[str, Tensor], alpha: float) -> None:
        self.folded = 0
        pairs: dict[str, dict[str, Tensor]] = {}
        self.weights: dict[str, Tensor] = {}
        for key, value in tensors.items():
            name = clean(key)
            match = LORA.match(name)
            if match:
                pairs.setdefault(match[1], {})[match[2]] = value
            elif "lora_" not in name:
                self.weights[name] = value
        for layer, halves in pairs.items():
            weight = f"{layer}.weight"
            if set(halves) != {"A", "B"} or weight not in self.weights:
                raise UsageError(f"LoRA for {layer} is not whole: it needs lora_A, lora_B and {weight}.")
            update = halves["B"].float() @ halves["A"].float() * (alpha / halves["A"].shape[0])
            self.weights[weight] = self.weights[weight].float() + update
            self.folded += 1

    @property
    def names(self) -> list[str]:
        return list(self.weights)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.weights[name].shape)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.weights.items()


def clean(key: str) -> str:
    """A key of the release without the prefixes of peft and DeepSpeed.

    >>> clean("base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight")
    'model.layers.0.self_attn.q_proj.weight'
    """
    key = key.removeprefix("module.").removeprefix("base_model.model.")
    return re.sub(r"\.(base_layer|original_module|modules_to_save\.default)\.", ".", key)


def merge_checkpoint(
    checkpoint: Path, *, base: str | None, alpha: float, dtype: torch.dtype
) -> tuple[LargeSida, SidaProcessor, int]:
    """The model of a checkpoint with LoRA folded in, and how many layers had some.

    Raises:
        UsageError: config and tokenizer are nowhere, or the weights do not make a SIDA.
    """
    zero = is_zero(checkpoint)
    weights: Any = Merged(read_zero(checkpoint) if zero else dict(Shards(checkpoint).tensors()), alpha)
    home = hub.resolve(base) if base is not None else checkpoint
    lacking = [name for name in CHECKPOINT_FILES if not (home / name).is_file()]
    if lacking:
        raise UsageError(
            f"{home} lacks {', '.join(lacking)}: name the checkpoint that the training began with as --base."
        )
    model, processor = load_large(str(home), dtype=dtype, weights=weights)
    return model, processor, weights.folded


def is_zero(folder: Path) -> bool:
    """True for a ZeRO folder: one with `latest`, or one that holds a rank's optimiser states."""
    return (folder / "latest").is_file() or any(folder.glob("*_optim_states.pt"))


def read_zero(folder: Path) -> dict[str, Tensor]:
    """All weights of a ZeRO folder: fp32 where the optimiser kept them, else as the model file has them.

    Raises:
        UsageError: files are missing or damaged, or hold more than tensors; the stage is 3.
    """
    step = _step(folder)
    models, optimisers = sorted(step.glob("*mp_rank_*_model_states.pt")), _by_rank(step)
    if not models or not optimisers:
        raise UsageError(f"{step} lacks *_model_states.pt or *_optim_states.pt: copy the whole ZeRO folder.")
    model = _load(models[0])
    states: list[dict[str, Any]] = [_load(path).get("optimizer_state_dict") or {} for path in optimisers]
    if any("single_partition_of_fp32_groups" not in state for state in states):
        stage = states[0].get("zero_stage")
        raise UsageError(
            f"{step} is of ZeRO stage {stage}, which is not read: run its zero_to_fp32.py and merge the result."
        )
    weights = {key: value for key, value in model.get("module", {}).items() if isinstance(value, Tensor)}
    weights |= model.get("frozen_param_fragments") or {}
    for group, shapes in enumerate(model["param_shapes"]):
        flat = torch.cat([state["single_partition_of_fp32_groups"][group] for state in states])
        offset = 0
        for name, shape in shapes.items():
            count = int(torch.Size(shape).numel())
            if offset + count > len(flat):
                raise UsageError(f"{step} lacks the states of some ranks: copy the whole ZeRO folder.")
            weights[name] = flat[offset : offset + count].view(torch.Size(shape))
            offset += count
    return weights


def _step(folder: Path) -> Path:
    latest = folder / "latest"
    if not latest.is_file():
        return folder
    name = latest.read_text().strip()
    if Path(name).name != name or not (folder / name).is_dir():
        raise UsageError(
            f"{latest} names {name!r}, which is no folder beside it: copy the whole ZeRO folder."
        )
    return folder / name


def _by_rank(step: Path) -> list[Path]:
    def rank(path: Path) -> int:
        match = re.search(r"pp_rank_(\d+)_", path.name)
        return int(match[1]) if match else 0

    return sorted(step.glob("*_optim_states.pt"), key=rank)


def _load(path: Path) -> dict[str, Any]:
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a file of DeepSpeed's: copy the whole ZeRO folder.")
    return content
