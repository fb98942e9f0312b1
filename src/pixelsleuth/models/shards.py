"""Tensors of a checkpoint folder, one shard at a time: safetensors, or `.bin` of which nothing is executed.

DeepSpeed's `zero_to_fp32.py` (since 0.15.3) takes the name that it is given for a folder: what was `pytorch_model.bin`
is then a folder of that name with shards and their index in it, and is read as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelsleuth.core.content import ensure_content
from pixelsleuth.errors import UsageError
from pixelsleuth.models.tensor_files import load_pickle, plain_key, unwrapped

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin")
NUMBERED = re.compile(r"(?:model|pytorch_model)-(\d{5})-of-(\d{5})\.(?:safetensors|bin)$")


class Shards:
    """The weights of a folder: `names`, `shape(name)` without reading values, `tensors()` shard by shard.

    Raises:
        UsageError: no weights, a shard that is missing, truncated, a pointer, or holds more than tensors.
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

    def tensors(self, wanted: Callable[[str], bool] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Every tensor (whose key is `wanted`) with its key; only one shard is held (memory-mapped) at a time."""
        for path in self.paths:
            if path.suffix == ".safetensors":
                from safetensors import safe_open

                with safe_open(path, framework="pt") as handle:
                    for name in handle.keys():  # noqa: SIM118  (not a dict)
                        if wanted is None or wanted(plain_key(name)):
                            yield plain_key(name), handle.get_tensor(name)
            else:
                for name, value in unwrapped(load_pickle(path), path).items():
                    if wanted is None or wanted(name):
                        yield name, value


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint folder.

    Raises:
        UsageError: the file is missing or damaged.
    """
    ensure_content(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is not a checkpoint: it lacks {path.name}.") from None
    except (ValueError, OSError):
        raise UsageError(f"{path} is damaged: copy or download it again.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is damaged: copy or download it again.")
    return found


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
    inside = nested_folder(folder)
    return _paths(inside) if inside is not None else _numbered(folder)


def nested_folder(folder: Path) -> Path | None:
    """The folder that bears a weight file's name in a checkpoint folder which has no such file itself, else None."""
    if any((folder / name).is_file() for name in (*INDEXES, *SINGLES)):
        return None
    return next((folder / name for name in SINGLES if (folder / name).is_dir()), None)


def _numbered(folder: Path) -> list[Path]:
    """Shards without their index, by the numbers in their names.

    Raises:
        UsageError: there are none, or some are missing.
    """
    found = {path: match for path in sorted(folder.glob("*-of-*")) if (match := NUMBERED.match(path.name))}
    if not found:
        raise UsageError(
            f"{folder} holds no weights (model.safetensors, pytorch_model.bin, or shards of them)."
        )
    kinds = {(path.suffix, int(match[2])) for path, match in found.items()}
    _, total = next(iter(kinds))
    if len(kinds) > 1 or sorted(int(match[1]) for match in found.values()) != list(range(1, total + 1)):
        raise UsageError(f"{folder} lacks shards or their index: copy or download the whole folder.")
    return list(found)


def _shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    if path.suffix != ".safetensors":
        yield from ((name, tuple(value.shape)) for name, value in unwrapped(load_pickle(path), path).items())
        return
    from safetensors import SafetensorError, safe_open

    ensure_content(path)
    try:
        with safe_open(path, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118  (not a dict)
                yield plain_key(name), tuple(handle.get_slice(name).get_shape())
    except SafetensorError as error:
        raise UsageError(f"{path} is truncated or damaged: copy or download it again.") from error
