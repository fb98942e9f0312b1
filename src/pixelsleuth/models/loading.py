"""One loader for all baselines: wrappers come off (`models.tensor_files`), and every key must fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from pixelsleuth.core.content import ensure_content, ensure_regular
from pixelsleuth.errors import UsageError
from pixelsleuth.models.facts import FACTS
from pixelsleuth.models.tensor_files import load_pickle, plain_keys, unwrapped
from pixelsleuth.models.weights import ensure_finite, ensure_unpacked_fits

if TYPE_CHECKING:
    from pixelsleuth.models.baseline import Baseline

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

        ensure_content(path)
        try:
            return plain_keys(load_file(path), path)
        except SafetensorError as error:
            raise UsageError(f"{path} is truncated or damaged: copy or download it again.") from error
    return unwrapped(load_pickle(path), path)


def load_strict(network: Baseline, state: dict[str, Tensor], *, name: str = "The checkpoint") -> None:
    """Load every tensor, or none.

    Raises:
        UsageError: keys that are missing, unexpected or of another shape, or weights that are not finite.
    """
    wanted = network.state_dict()
    counted = {key for key in wanted if not key.endswith("num_batches_tracked")}
    given = _under_own_names(network, state)
    inner = state
    while not counted <= given.keys() <= wanted.keys() and (inner := _without_shared_name(inner)):
        tried = _under_own_names(network, inner)
        if counted <= tried.keys() <= wanted.keys():
            given = tried
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


def _under_own_names(network: Baseline, state: dict[str, Tensor]) -> dict[str, Tensor]:
    own = state.keys() == network.state_dict().keys()  # what `pixelsleuth train` leaves
    return dict(state) if own else network.adapt(dict(state))


def _without_shared_name(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the first part of their names where all share it, as in a Lightning module (`net.`); nothing
    where they do not."""
    firsts = {key.partition(".")[0] for key in state}
    if len(firsts) != 1 or not all("." in key for key in state):
        return {}
    return {key.partition(".")[2]: value for key, value in state.items()}


def _whose(state: dict[str, Tensor], network: Baseline) -> str:
    """Which other baseline's checkpoint it is, where its keys tell."""
    for facts in FACTS.values():
        if facts.known_by in state and facts.name != network.facts.name:
            return f"; it is a checkpoint of {facts.title} (--model {facts.name})"
    return ""


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MOST_LISTED} more" if len(keys) > MOST_LISTED else ""
    return f"{', '.join(sorted(keys)[:MOST_LISTED])}{more}"
