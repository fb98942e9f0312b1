"""One loader for all baselines: known wrappers come off, every key must fit, and nothing but tensors is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixelsleuth.core.baselines import FACTS
from pixelsleuth.core.errors import UsageError
from pixelsleuth.core.regular import ensure_regular
from pixelsleuth.models.weights import ensure_finite, ensure_unpacked_fits

if TYPE_CHECKING:
    from pixelsleuth.models.baselines.base import Baseline

WRAPPERS = ("model", "netC", "state_dict", "network", "model_state_dict")
LARGEST_FILE = 8_000_000_000
"""Bytes; the largest baseline, MVSS-Net, has 0.6 GB."""
MOST_LISTED = 3


def read_state(path: Path, files: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a file, or of all of `files` that a folder holds, without wrappers and `module.`.

    Raises:
        UsageError: it is missing, damaged, too large, or holds more than tensors.
    """
    ensure_regular(path)
    if not path.exists():
        raise UsageError(f"There are no weights at {path}.")
    if not path.is_dir():
        return _read_file(path)
    found = [path / name for name in files if (path / name).is_file()]
    if not found:
        raise UsageError(f"The folder {path} holds none of {', '.join(files)}.")
    state: dict[str, Tensor] = {}
    for one in found:
        state |= _read_file(one)
    return state


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.stat().st_size > LARGEST_FILE:
        raise UsageError(f"{path} is no baseline's: it has more than {LARGEST_FILE // 10**9} GB.")
    ensure_unpacked_fits(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise UsageError(f"{path} is truncated or damaged: copy or download it again.") from error
    import pickle
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # what fails is told below
            return unwrapped(torch.load(path, map_location="cpu", weights_only=True), path)
    except pickle.UnpicklingError:
        raise UsageError(f"{path} needs pickle, or is damaged: only files of tensors are read.") from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise UsageError(f"{path} is truncated or damaged: copy or download it again.") from error


def unwrapped(found: Any, path: Path) -> dict[str, Tensor]:
    """The state dict inside the known wrappers; other numbers beside the tensors are left out. A tensor alone (such as
    FreDect's mean) gets the file's name."""
    if isinstance(found, Tensor):
        return {path.stem: found}
    while isinstance(found, Mapping):
        inside = next((found[name] for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)
        if inside is None:
            break
        found = inside
    state = (
        {str(key).removeprefix("module."): value for key, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not state:
        raise UsageError(f"{path} holds no tensors by name: it is no checkpoint.")
    return state


def load_strict(network: Baseline, state: dict[str, Tensor], *, name: str = "The checkpoint") -> None:
    """Load every tensor, or none.

    Raises:
        UsageError: keys that are missing, unexpected or of another shape, or weights that are not finite.
    """
    wanted = network.state_dict()
    own = state.keys() == wanted.keys()  # what `pixelsleuth train` leaves
    given = dict(state) if own else network.adapt(dict(state))
    counted = {key for key in wanted if not key.endswith("num_batches_tracked")}
    problems = [
        f"{len(keys)} {what} ({_listed(keys)})"
        for what, keys in (
            ("missing", [key for key in counted if key not in given]),
            ("unexpected", [key for key in given if key not in wanted]),
            (
                "of another shape",
                [
                    f"{key} {tuple(given[key].shape)} for {tuple(wanted[key].shape)}"
                    for key in counted
                    if key in given and given[key].shape != wanted[key].shape
                ],
            ),
        )
        if keys
    ]
    if problems:
        raise UsageError(
            f"{name} does not fit {network.facts.title}: parameters {'; '.join(problems)}{_whose(state, network)}."
        )
    ensure_finite(given.items(), name)
    network.load_state_dict(given, strict=False)


def _whose(state: dict[str, Tensor], network: Baseline) -> str:
    """Which other baseline's checkpoint it is, where its keys tell."""
    for facts in FACTS.values():
        if facts.known_by in state and facts.name != network.facts.name:
            return f"; it is a checkpoint of {facts.title} (--model {facts.name})"
    return ""


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MOST_LISTED} more" if len(keys) > MOST_LISTED else ""
    return f"{', '.join(sorted(keys)[:MOST_LISTED])}{more}"
