"""Read a DeepSpeed ZeRO folder (stages 1 and 2) without DeepSpeed and without executing anything in it.

A rank keeps a slice of each parameter group as one flat fp32 tensor; the model file names the group's parameters and
their shapes in order, and holds all weights in 16 bits. Settings objects of DeepSpeed that stand beside the tensors are
read as empty stand-ins.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.errors import UsageError
from pixelsleuth.models.tensor_files import load_pickle


def is_zero(folder: Path) -> bool:
    """True for a ZeRO folder: one with `latest`, or one that holds a rank's optimiser states."""
    return (folder / "latest").is_file() or any(folder.glob("*_optim_states.pt"))


def read_zero(folder: Path) -> dict[str, Tensor]:
    """All weights: fp32 where the optimiser kept them, else as the model file has them.

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
        found = re.search(r"pp_rank_(\d+)_", path.name)
        return int(found[1]) if found else 0

    return sorted(step.glob("*_optim_states.pt"), key=rank)


def _load(path: Path) -> dict[str, Any]:
    found = load_pickle(path)
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not what DeepSpeed writes: it is not loaded.")
    return found
