"""A published checkpoint's tensors under a graph's names, read with numpy: safetensors only, every number checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import UsageError
from pixelsleuth.models.light.form import Form, Part

COMPILED = "_orig_mod."
"""In front of every key of a checkpoint that was compiled while it was trained."""
KINDS = ("F64", "F32", "F16")


def read(path: Path, form: Form) -> dict[str, NDArray[np.float32]]:
    """Every tensor that the graph needs.

    Raises:
        UsageError: no such file, another kind of file, another network's, or numbers that are none.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UsageError(f"There are no weights at {path}: name {form.facts.title}'s {form.facts.files[0]}.")
    try:
        with safe_open(path, framework="np") as file:
            given = {key.removeprefix(COMPILED): key for key in file.keys()}  # noqa: SIM118 (it is no mapping)
            _same_keys(path, form, set(given))
            rows: dict[str, int] = {}
            for part in form.tensors.values():
                rows[part.key] = max(part.stop, rows.get(part.key, 0))
            return {
                name: _tensor(file, given[part.key], part, rows[part.key], path)
                for name, part in form.tensors.items()
            }
    except SafetensorError:
        raise UsageError(
            f"{path} is no safetensors file, or is truncated or damaged: copy or download it again."
        ) from None


def _same_keys(path: Path, form: Form, given: set[str]) -> None:
    wanted = {part.key for part in form.tensors.values()}
    for what, keys in (("lacks", wanted - given), ("also holds", given - wanted)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UsageError(f"{path} does not fit {form.facts.title}: it {what} {min(keys)}{more}.")


def _tensor(file: Any, key: str, part: Part, rows: int, path: Path) -> NDArray[np.float32]:
    """The part's rows of a tensor that has so many `rows`."""
    stored = file.get_slice(key)
    if stored.get_dtype() not in KINDS:
        raise UsageError(
            f"{path}: {key} is {stored.get_dtype()}; only float32, float16 and float64 are read."
        )
    if stored.get_shape() != [rows, *part.shape[1:]] or part.stop - part.start != part.shape[0]:
        raise UsageError(f"{path}: {key} has another shape, {stored.get_shape()}.")
    tensor = np.ascontiguousarray(stored[part.start : part.stop], np.float32)
    if not np.isfinite(tensor).all():
        raise UsageError(f"{path}: {key} holds numbers that are none (NaN or infinite); download it again.")
    return tensor
