"""Checkpoints: a folder a step, written whole or not at all, tensors in safetensors, everything else in JSON.

    OUT/checkpoints/step-0000100/trained.safetensors     what learns, by its name in the model
                                 optimiser.safetensors   its moments
                                 random.safetensors      the random state of every process
                                 state.json              step, configuration, sampler, schedule, best so far
    OUT/checkpoints/best-0000080/trained.safetensors, state.json

A folder is filled under a hidden name and then renamed. Older ones go only when a newer one stands.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pixelsleuth.core.io import replaced
from pixelsleuth.errors import UsageError
from pixelsleuth.training.run.settings import FREE, differences

STEP = re.compile(r"step-(\d+)$")
Tensors = Mapping[str, Tensor]


class Keeper:
    """The checkpoints of one training."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def write(self, name: str, tensors: Mapping[str, Tensors], facts: Mapping[str, Any]) -> Path:
        """Write one checkpoint; what was there under the name is replaced.

        Raises:
            OSError: the disk is full or the folder cannot be written; nothing half-written stays.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with replaced(self.folder / name) as folder:
                folder.mkdir()
                for part, values in tensors.items():
                    save_file({k: v.contiguous() for k, v in values.items()}, folder / f"{part}.safetensors")
                (folder / "state.json").write_text(json.dumps(facts, indent=1) + "\n")
                for path in folder.iterdir():
                    _to_disk(path)
        except SafetensorError as error:  # its own for a full disk
            raise OSError(str(error)) from error
        return self.folder / name

    def steps(self) -> list[Path]:
        """Checkpoints of steps, the oldest first."""
        folders = [path for path in self.folder.glob("step-*") if STEP.search(path.name) and path.is_dir()]
        return sorted(folders, key=lambda path: int(path.name[5:]))

    def purge(self, best: str | None) -> None:
        """Remove all but the last `keep` steps and the best."""
        for path in self.steps()[: -self.keep]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("best-*"):
            if path.name != best:
                shutil.rmtree(path, ignore_errors=True)

    def last(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]] | None:
        """Facts and tensors of the newest checkpoint that can be read; None where there is none.

        Raises:
            UsageError: there are some and all are damaged.
        """
        folders = self.steps()
        for path in reversed(folders):
            try:
                return read(path)
            except UsageError:
                continue
        if folders:
            raise UsageError(f"All checkpoints in {self.folder} are damaged: start anew with another out.")
        return None


def ensure_same(
    facts: Mapping[str, Any], now: Mapping[str, Any], out: Path, free: Collection[str] = FREE
) -> None:
    """Refuse to resume a training that was begun with other settings or data.

    Args:
        facts: `config` and `data` of the checkpoint.
        now: the same of the resumed training.
        out: the folder, for the message.
        free: dotted keys of `config` that may differ.

    Raises:
        UsageError: configuration or data have changed.
    """
    changed = differences(facts["config"], now["config"], free)
    if changed:
        raise UsageError(
            f"{out} was trained with another configuration ({', '.join(changed)} differ): resume with the same, or "
            "start anew with another out."
        )
    if facts["data"] != now["data"]:
        raise UsageError(f"The data have changed since {out} was begun: start anew with another out.")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Facts and tensors (by file) of one checkpoint.

    Raises:
        UsageError: it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        facts = json.loads((folder / "state.json").read_text())
        tensors = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
        if "trained" not in tensors or not isinstance(facts, dict):
            raise UsageError(f"{folder} is not a checkpoint of a training.")
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"{folder} is damaged ({error}): remove it.") from None
    return facts, tensors


def is_training(folder: Path) -> bool:
    """True for what `read` reads."""
    return (folder / "state.json").is_file() and (folder / "trained.safetensors").is_file()


def find(folder: Path) -> Path | None:
    """The checkpoint of a path: itself, or the best (else the last) of a training's folder; None for other folders."""
    if is_training(folder):
        return folder
    inside = folder / "checkpoints"
    best = sorted(path for path in inside.glob("best-*") if is_training(path))
    steps = Keeper(inside, keep=1).steps()
    return best[-1] if best else steps[-1] if steps else None


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name to parameter, of what learns."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def gathered(value: Tensor) -> Tensor:
    """A tensor on the CPU, whole: where the processes hold parts of it, all of them have to call this."""
    from torch.distributed.tensor import DTensor

    full = value.full_tensor() if isinstance(value, DTensor) else value
    return full.detach().cpu()


def own_part(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, cut apart between the processes as `like` is; every process already has `value`."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor):
        return value
    mesh = like.device_mesh
    return distribute_tensor(value.to(mesh.device_type), mesh, like.placements, src_data_rank=None)


def moments(optimiser: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's tensors by `name//key`, whole."""
    return {
        f"{name}//{key}": gathered(torch.as_tensor(value))
        for name, parameter in named.items()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def restore_moments(
    optimiser: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], stored: Tensors
) -> None:
    """Put back what `moments` gave, each laid out in memory, and cut apart, as its parameter is."""
    optimiser.state.clear()
    for entry, value in stored.items():
        name, _, key = entry.partition("//")
        parameter = named[name]
        optimiser.state[parameter][key] = (
            value.clone()
            if key == "step"
            else torch.empty_like(parameter, dtype=value.dtype).copy_(own_part(value, parameter))
        )


def restore_weights(named: Mapping[str, nn.Parameter], stored: Tensors, name: str) -> None:
    """Put trained parameters back.

    Raises:
        UsageError: names or shapes differ from the model's.
    """
    wrong = [
        key
        for key in {*named, *stored}
        if key not in named or key not in stored or named[key].shape != stored[key].shape
    ]
    if wrong:
        raise UsageError(
            f"{name} is a checkpoint of another shape ({len(wrong)} parameters differ, such as {min(wrong)}): "
            "train it with the configuration and the start that it was made with."
        )
    with torch.no_grad():
        for key, parameter in named.items():
            parameter.copy_(own_part(stored[key], parameter))


def restore_schedule(schedule: Any, optimiser: Any, state: Mapping[str, Any]) -> None:
    """Put back a schedule's state, and its rates into the optimiser."""
    schedule.load_state_dict(state)
    for group, rate in zip(optimiser.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = rate


def _to_disk(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
