"""Tensors out of one file of unknown origin: nothing in it is executed, wrappers and prefixes come off.

torch's restricted reader builds only tensors and plain containers. Trainings store other objects beside them: settings,
counters, paths. Objects on the lists below are read as empty stand-ins; any other object, such as a whole network, is
refused by name.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.core.content import ensure_content, ensure_regular
from pixelsleuth.errors import UsageError
from pixelsleuth.models.precision import ensure_room


class Inert:
    """Stands in for an object whose value is not needed: takes any arguments, does nothing."""

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class InertMapping:
    """Stands in for a settings library's mapping: an OrderedDict, which torch's reader can fill."""

    def __new__(cls, *arguments: object, **named: object) -> Any:
        return OrderedDict()


class InertList:
    """Stands in for a sequence: a plain list."""

    def __new__(cls, *arguments: object, **named: object) -> Any:
        return []


KINDS = (
    "object", "bool", "int", "float", "complex", "str", "bytes", "list", "tuple", "dict", "set", "frozenset",
)  # fmt: skip
OBJECTS = (
    "argparse.Namespace", "types.SimpleNamespace", "_codecs.encode",
    "copyreg._reconstructor", "copy_reg._reconstructor", "builtins.slice", "builtins.range",
    *(f"{module}.{kind}" for module in ("builtins", "__builtin__") for kind in KINDS),
    "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct", "numpy.core.numeric._frombuffer",
    "numpy._core.numeric._frombuffer", "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__generator_ctor", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath",
    "pathlib.PurePosixPath", "pathlib.PureWindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    "datetime.date", "datetime.datetime", "datetime.timedelta", "decimal.Decimal", "fractions.Fraction", "uuid.UUID",
)  # fmt: skip
MAPPINGS = (
    "collections.defaultdict", "easydict.EasyDict", "yacs.config.CfgNode", "fvcore.common.config.CfgNode",
    "addict.addict.Dict", "addict.Dict", "mmengine.config.config.ConfigDict", "mmcv.utils.config.ConfigDict",
    "munch.Munch", "ml_collections.config_dict.config_dict.ConfigDict",
    "pytorch_lightning.utilities.parsing.AttributeDict", "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict", "lightning_fabric.utilities.data.AttributeDict",
)  # fmt: skip
LISTS = ("collections.deque",)
LIBRARIES = (
    "deepspeed.", "omegaconf.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "mmengine.", "mmcv.",
    "accelerate.", "transformers.training_args.", "transformers.trainer_utils.", "torch.optim.",
)  # fmt: skip
"""Libraries of trainings: their settings and schedules; they need not be installed."""

WRAPPERS = (
    "model", "netC", "state_dict", "network", "model_state_dict", "model_dict", "net", "module", "params", "weights",
)  # fmt: skip
"""Names under which authors store the weights, the likeliest first."""
LAYERS = re.compile(r"(?:^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
"""Parts that torch.compile, FSDP and activation checkpointing put into names."""
FOREIGN = re.compile(r"GLOBAL ([\w.]+)")
LARGEST_FILE = 8_000_000_000
"""Bytes of a file that is read in one piece; the largest baseline, MVSS-Net, has 0.6 GB."""
MOST_NAMED = 3
DEEPEST = 5
"""Wrappers within wrappers, at most; a hostile file may hold a mapping that contains itself."""


def read_tensors(path: Path, files: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a file, or of all of `files` that a folder holds, by names without wrappers' prefixes.

    Raises:
        UsageError: nothing is there, it is damaged or too large, or holds more than tensors.
    """
    ensure_regular(path)
    if not path.exists():
        raise UsageError(f"There are no weights at {path}.")
    paths = [path]
    if path.is_dir():
        paths = [path / name for name in files if (path / name).is_file()]
        if not paths:
            raise UsageError(f"The folder {path} holds none of {', '.join(files)}.")
    state: dict[str, Tensor] = {}
    for file in paths:
        if file.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{file} is no baseline's: it has more than {LARGEST_FILE // 10**9} GB.")
        ensure_unpacked_fits(file)
        state |= read_file(file)
    return state


def read_file(path: Path) -> dict[str, Tensor]:
    """All tensors of one file, memory-mapped where the format allows it."""
    if path.suffix != ".safetensors":
        return unwrapped(load_pickle(path), path)
    with opened(path) as file:
        return plain_keys({name: file.get_tensor(name) for name in file.keys()}, path)  # noqa: SIM118


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file, opened for torch.

    Raises:
        UsageError: it is truncated, damaged or a pointer.
    """
    from safetensors import SafetensorError, safe_open

    ensure_content(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise _damaged(path) from error


def load_pickle(path: Path) -> Any:
    """The content of a torch pickle; nothing in it is executed, and tensors are memory-mapped where possible.

    Raises:
        UsageError: it is damaged, a pointer, an archive of code, too large, or holds objects that are not on the lists.
    """
    ensure_content(path)
    zipped = zipfile.is_zipfile(path)
    mapped = zipped and _is_stored(path)
    if not mapped:
        ensure_unpacked_fits(path)
    foreign = _foreign(path) if zipped else []
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_stand_ins(foreign)):
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # a failure is reported below
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        unknown = [name for name in foreign if not _is_harmless(name)] or FOREIGN.findall(str(error))
        if unknown:
            raise UsageError(
                f"{path} holds more than tensors ({listed(unknown)}), and nothing in it is executed, so it is not "
                "loaded: save the state_dict() alone."
            ) from None
        raise _damaged(path) from None
    except Exception as error:  # torch's reader raises whatever a damaged file leads it to
        raise _damaged(path) from error


def unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name, without their wrappers and without numbers, texts and settings beside them.

    A tensor alone (such as FreDect's mean) gets the file's name.

    Raises:
        UsageError: there are no tensors, or several sets of them under unknown names.
    """
    if isinstance(content, Tensor):
        return {path.stem: content}
    for _ in range(DEEPEST):
        if not isinstance(content, dict):
            break
        # `dict.items`, since a hostile file may hide a mapping's own methods
        items = {str(key): value for key, value in dict.items(content)}
        inside = next((items[name] for name in WRAPPERS if _leads_to_state(items.get(name))), None)
        if inside is None and any(isinstance(value, Tensor) for value in items.values()):
            return plain_keys({key: value for key, value in items.items() if isinstance(value, Tensor)}, path)
        content = inside if inside is not None else _only_state(items, path)
    raise UsageError(f"{path} holds no tensors by name: it is no checkpoint.")


def _only_state(items: Mapping[str, Any], path: Path) -> Any:
    """The only set of weights under an unknown name; None where there is none."""
    sets = [name for name, value in items.items() if _leads_to_state(value)]
    if len(sets) > 1:
        raise UsageError(
            f"{path} holds several sets of weights ({listed(sorted(sets))}): save the right one in a file of its "
            "own."
        )
    return items[sets[0]] if sets else None


def _leads_to_state(value: object, depth: int = DEEPEST) -> bool:
    """True for a mapping of names to tensors, also inside known wrappers; an optimiser's states have numbers."""
    if not isinstance(value, dict) or not depth:
        return False
    pairs = [(key, inner) for key, inner in dict.items(value) if isinstance(key, str)]
    return any(isinstance(inner, Tensor) for _, inner in pairs) or any(
        key in WRAPPERS and _leads_to_state(inner, depth - 1) for key, inner in pairs
    )


def plain_keys(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors by their names without what wrappers of modules add.

    Raises:
        UsageError: two names become one.
    """
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        name = plain_key(key)
        if name in plain:
            raise UsageError(f"{path} holds {name} twice, once in a wrapper: save the state_dict() alone.")
        plain[name] = value
    return plain


def plain_key(key: str) -> str:
    """A parameter's name without what torch.compile, FSDP and data parallelism put into it.

    >>> plain_key("module._orig_mod.layer1.0._fsdp_wrapped_module.conv.weight")
    'layer1.0.conv.weight'
    """
    key = LAYERS.sub("", key).removeprefix(".")
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key


def ensure_unpacked_fits(path: Path) -> None:
    """Refuse a file of weights that main memory cannot hold unpacked: PyTorch's files are ZIP archives.

    Raises:
        UsageError: it does not fit.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(entry.file_size for entry in archive.infolist()))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        pass  # the old layout is no archive; the reader reports damage
    ensure_room(size, str(path), bytes_each=1.0)


def _foreign(path: Path) -> list[str]:
    """Names of the objects that torch's reader does not build by itself."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception as error:  # a damaged pickle: whatever it leads torch to
        if "torchscript" in str(error).lower():
            raise UsageError(
                f"{path} is a TorchScript archive, which holds code: save the state_dict() alone."
            ) from None
        raise _damaged(path) from None


def _stand_ins(foreign: Iterable[str]) -> list[Any]:
    pairs: list[Any] = [(Inert, name) for name in OBJECTS]
    pairs += [(InertMapping, name) for name in MAPPINGS] + [(InertList, name) for name in LISTS]
    known = {name for _, name in pairs}
    return pairs + [(Inert, name) for name in foreign if name not in known and name.startswith(LIBRARIES)]


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is truncated or damaged: copy or download it again.")


def _is_harmless(name: str) -> bool:
    return name in OBJECTS or name in MAPPINGS or name in LISTS or name.startswith(LIBRARIES)


def _is_stored(path: Path) -> bool:
    """True where no member is compressed, so that tensors can be memory-mapped."""
    with zipfile.ZipFile(path) as archive:
        return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
