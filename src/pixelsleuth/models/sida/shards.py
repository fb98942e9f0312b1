"""Tensors of a checkpoint folder, one shard at a time: safetensors, or `.bin` read with `weights_only`."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.core.errors import UsageError

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin")


class Shards:
    """The weights of a folder: `names`, `shape(name)` without reading values, `tensors()` shard by shard.

    Raises:
        UsageError: no weights, a shard that is missing, truncated or holds more than tensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = _paths(folder)
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path in self.paths:
            for name, shape in _shapes(path):
                self._shapes[name] = shape

    @property
    def names(self) -> list[str]:
        """All keys, over all shards."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one tensor."""
        return self._shapes[name]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its key; only one shard is held (memory-mapped) at a time."""
        for path in self.paths:
            if path.suffix == ".safetensors":
                from safetensors import safe_open

                with safe_open(path, framework="pt") as handle:
                    for name in handle.keys():  # noqa: SIM118  (not a dict)
                        yield name, handle.get_tensor(name)
            else:
                yield from load_pickle(path).items()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint folder.

    Raises:
        UsageError: the file is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is not a checkpoint: it lacks {path.name}.") from None
    except (ValueError, OSError):
        raise UsageError(f"{path} is damaged: copy or download it again.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is damaged: copy or download it again.")
    return found


def load_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.bin` file; nothing else in it is executed or accepted."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise UsageError(f"{path} holds more than tensors, or is damaged: it is not loaded.") from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise UsageError(f"{path} is truncated or damaged: copy or download it again.") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UsageError(f"{path} holds more than tensors: it is not loaded.")
    return state


def _paths(folder: Path) -> list[Path]:
    for name in INDEXES:
        if (folder / name).is_file():
            listed = read_json(folder / name).get("weight_map")
            if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
                raise UsageError(f"{folder / name} is damaged: copy or download it again.")
            files = sorted(set(listed.values()))
            outside = [file for file in files if Path(file).name != file]
            if outside:
                raise UsageError(f"{folder / name} names a file outside its folder ({outside[0]}).")
            missing = [file for file in files if not (folder / file).is_file()]
            if missing:
                raise UsageError(
                    f"{folder} lacks {len(missing)} of {len(files)} shards ({', '.join(missing[:3])}): download them."
                )
            return [folder / file for file in files]
    for name in SINGLES:
        if (folder / name).is_file():
            return [folder / name]
    raise UsageError(f"{folder} holds no weights (model.safetensors, pytorch_model.bin, or shards of them).")


def _shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    if path.suffix != ".safetensors":
        yield from ((name, tuple(value.shape)) for name, value in load_pickle(path).items())
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118  (not a dict)
                yield name, tuple(handle.get_slice(name).get_shape())
    except SafetensorError as error:
        raise UsageError(f"{path} is truncated or damaged: copy or download it again.") from error
