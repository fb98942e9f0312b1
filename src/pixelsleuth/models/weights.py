"""The weights of a checkpoint: read without executing anything in them, checked, and loaded whole or not at all.

`read_config` reads a folder's config.json, `Shards` its weights one shard at a time; `tensor_files` reads single files.
`ensure_fits` compares names and shapes with a model's; `ensure_finite` refuses NaN, `ensure_sane` impossible sizes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pixelsleuth.core.content import ensure_content, ensure_regular
from pixelsleuth.errors import UsageError
from pixelsleuth.models.facts import FACTS
from pixelsleuth.models.tensor_files import listed, opened, plain_key, read_file

if TYPE_CHECKING:
    from pixelsleuth.models.baseline import Baseline

MOST_LAYERS = 1_000
LARGEST_SIDE = 20_000
LARGEST_DIMENSION = 10_000_000
"""Of a config: no model's vocabulary, width or context comes near."""
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin")
NUMBERED = re.compile(r"(?:model|pytorch_model)-(\d{5})-of-(\d{5})\.(?:safetensors|bin)$")
COUNTER = "num_batches_tracked"
"""Of batch normalisation: no score depends on it, and old checkpoints lack it."""
DAMAGED = "is damaged: copy or download it again."


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a checkpoint folder.

    Raises:
        UsageError: the file is missing or damaged, it states a size no model has, or the folder holds a pipe.
    """
    ensure_regular(folder)
    config = read_json(folder / "config.json")
    ensure_sane(config, str(folder / "config.json"))
    return config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint folder.

    Raises:
        UsageError: the file is missing or damaged.
    """
    ensure_content(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is not a checkpoint: it lacks {path.name}.") from None
    except (ValueError, OSError, RecursionError):
        raise UsageError(f"{path} {DAMAGED}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} {DAMAGED}")
    return content


def ensure_sane(config: Mapping[str, Any], name: str) -> None:
    """Refuse a config that states a size no model has, before anything is made of it.

    A count of layers becomes as many Python objects, also where no weight is allocated.

    Raises:
        UsageError: a size is not a number, or larger than any model's.
    """
    pending: list[tuple[str, Any]] = list(config.items())
    while pending:
        key, value = pending.pop()
        if isinstance(value, Mapping):
            pending += [(str(inner), item) for inner, item in value.items()]
        elif isinstance(value, list | tuple):
            pending += [(key, item) for item in value]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            counted = "layers" in key or "depth" in key or "heads" in key
            most = MOST_LAYERS if counted else LARGEST_SIDE if key == "image_size" else LARGEST_DIMENSION
            sized = any(word in key for word in ("size", "dim", "layers", "depth", "heads", "channels"))
            if sized and not abs(value) <= most:  # also NaN
                raise UsageError(
                    f"{name} states {key} = {value}, which no model has: copy or download it again."
                )


class Shards:
    """The weights of a folder: `names`, `shape(name)` without reading values, `tensors()` shard by shard.

    DeepSpeed's `zero_to_fp32.py` (since 0.15.3) makes a folder called `pytorch_model.bin`, with shards and their index
    in it. Such a folder is read like a file of that name.

    Raises:
        UsageError: no weights; a shard is missing, truncated or a pointer, or holds more than tensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = _shard_paths(folder)
        self._shapes = {name: shape for path in self.paths for name, shape in _shapes(path)}

    @property
    def names(self) -> list[str]:
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def tensors(self, needed: Callable[[str], bool] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Every tensor (whose key is `needed`) with its key; one shard at a time is held, memory-mapped."""
        for path in self.paths:
            if path.suffix != ".safetensors":
                for name, value in read_file(path).items():
                    if needed is None or needed(name):
                        yield name, value
                continue
            with opened(path) as file:
                for key in file.keys():  # noqa: SIM118  (not a dict)
                    if needed is None or needed(plain_key(key)):
                        yield plain_key(key), file.get_tensor(key)


def _shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    if path.suffix != ".safetensors":
        yield from ((name, tuple(value.shape)) for name, value in read_file(path).items())
        return
    with opened(path) as file:
        for key in file.keys():  # noqa: SIM118  (not a dict)
            yield plain_key(key), tuple(file.get_slice(key).get_shape())


def _shard_paths(folder: Path) -> list[Path]:
    for name in INDEXES:
        if (folder / name).is_file():
            return _indexed(folder, name)
    for name in SINGLES:
        if (folder / name).is_file():
            return [folder / name]
    inside = nested_folder(folder)
    return _shard_paths(inside) if inside is not None else _numbered(folder)


def nested_folder(folder: Path) -> Path | None:
    """The folder that bears a weight file's name in a checkpoint folder without such a file, else None."""
    if any((folder / name).is_file() for name in (*INDEXES, *SINGLES)):
        return None
    return next((folder / name for name in SINGLES if (folder / name).is_dir()), None)


def _indexed(folder: Path, index: str) -> list[Path]:
    """The shards that an index names."""
    places = read_json(folder / index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise UsageError(f"{folder / index} {DAMAGED}")
    files = sorted(set(places.values()))
    outside = [file for file in files if Path(file).name != file]
    if outside:
        raise UsageError(f"{folder / index} names a file outside its folder ({outside[0]}).")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise UsageError(
            f"{folder} lacks {len(missing)} of {len(files)} shards ({listed(missing)}): download them."
        )
    return [folder / file for file in files]


def _numbered(folder: Path) -> list[Path]:
    """Shards without their index, by the numbers in their names.

    Raises:
        UsageError: there are none, or some are missing.
    """
    matches = {path: match for path in sorted(folder.glob("*-of-*")) if (match := NUMBERED.match(path.name))}
    if not matches:
        raise UsageError(
            f"{folder} holds no weights (model.safetensors, pytorch_model.bin, or shards of them)."
        )
    kinds = {(path.suffix, int(match[2])) for path, match in matches.items()}
    _, total = next(iter(kinds))
    numbers = sorted(int(match[1]) for match in matches.values())
    if len(kinds) > 1 or numbers != list(range(1, total + 1)):
        raise UsageError(f"{folder} lacks shards or their index: copy or download the whole folder.")
    return list(matches)


def ensure_fits(
    name: str, title: str, model: nn.Module, shapes: Mapping[str, Sequence[int]], *, hint: str = ""
) -> None:
    """Refuse weights whose names and shapes are not those of a model; counters of batches may be missing.

    Args:
        name: of the checkpoint, for the sentence.
        title: of the model, for the sentence.
        shapes: of the checkpoint's tensors, by name.
        hint: what the sentence ends with.

    Raises:
        UsageError: names that are missing or unexpected, or shapes that differ.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    other = [key for key in expected if key in shapes and tuple(shapes[key]) != expected[key]]
    parts = {
        "missing": [key for key in expected if key not in shapes and not key.endswith(COUNTER)],
        "unexpected": [key for key in shapes if key not in expected],
        "of another shape": [f"{key} {tuple(shapes[key])} for {expected[key]}" for key in other],
    }
    problems = [f"{len(keys)} {what} ({listed(sorted(keys))})" for what, keys in parts.items() if keys]
    if problems:
        raise UsageError(f"{name} does not fit {title}: parameters {'; '.join(problems)}{hint}.")


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shapes of tensors by name, for `ensure_fits`."""
    return {key: value.shape for key, value in tensors.items()}


def ensure_finite(tensors: Iterable[tuple[str, Tensor]], name: str) -> None:
    """Refuse weights that are not finite: NaN spreads to every score, and some layers hide it again.

    Raises:
        UsageError: a weight is NaN or infinite; the sentence names its tensor.
    """
    for key, value in tensors:
        if not is_finite(value):
            raise UsageError(
                f"{name} holds weights that are NaN or infinite ({key}): its training failed, or it is damaged; take "
                "another checkpoint."
            )


def is_finite(value: Tensor) -> bool:
    """True where no element is NaN or infinite. One pass, without a copy where the type allows it."""
    if value.is_meta or not (value.is_floating_point() or value.is_complex()) or value.numel() == 0:
        return True
    if value.is_complex() or value.element_size() == 1:  # eight-bit floats know hardly any operation
        value = torch.view_as_real(value) if value.is_complex() else value.float()
    low, high = value.aminmax()  # NaN is passed on
    return bool(torch.isfinite(low) & torch.isfinite(high))


def load_strict(network: Baseline, state: Mapping[str, Tensor], *, name: str = "The checkpoint") -> None:
    """Load every tensor of a baseline's checkpoint, or none.

    Names are the baseline's own or its authors'. A first part that all names share is dropped, such as `net.` of a
    Lightning module.

    Raises:
        UsageError: names that are missing or unexpected, shapes that differ, or weights that are not finite.
    """
    names = network.state_dict().keys()
    needed = {key for key in names if not key.endswith(COUNTER)}
    own = _under_own_names(network, state)
    inner = dict(state)
    while not needed <= own.keys() <= names and (inner := _without_shared_part(inner)):
        shorter = _under_own_names(network, inner)
        own = shorter if needed <= shorter.keys() <= names else own
    ensure_fits(name, network.facts.title, network, shapes_of(own), hint=_owner(state, network))
    ensure_finite(own.items(), name)
    network.load_state_dict(own, strict=False)


def _under_own_names(network: Baseline, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = state.keys() == network.state_dict().keys()  # what `pixelsleuth train` leaves
    return dict(state) if own else network.adapt(dict(state))


def _without_shared_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the first part of their names where all share it; nothing where they do not."""
    if len({key.partition(".")[0] for key in state}) != 1 or not all("." in key for key in state):
        return {}
    return {key.partition(".")[2]: value for key, value in state.items()}


def _owner(state: Mapping[str, Tensor], network: Baseline) -> str:
    """Which other baseline's checkpoint it is, where its names tell."""
    for facts in FACTS.values():
        if facts.known_by in state and facts.name != network.facts.name:
            return f"; it is a checkpoint of {facts.title} (--model {facts.name})"
    return ""
