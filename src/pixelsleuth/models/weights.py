"""What every loader asks of weights before a model judges with them: that they fit, and that they are numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.errors import UsageError
from pixelsleuth.models.precision import free_main_memory

MOST_LAYERS = 1_000
LARGEST_SIDE = 20_000
LARGEST_DIMENSION = 10_000_000
"""Of a config: no model's vocabulary, width or context comes near."""


def ensure_finite(tensors: Iterable[tuple[str, Tensor]], name: str) -> None:
    """Return where every weight is a finite number: NaN spreads to every score, and some layers hide it again.

    Raises:
        UsageError: one is NaN or infinite; the sentence names its tensor.
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


def ensure_sane(config: Mapping[str, Any], name: str) -> None:
    """Return where the sizes that a config states are a model's; nothing has been made of them yet.

    A count of layers becomes as many Python objects, also where no weight is allocated.

    Raises:
        UsageError: a size is not positive, or larger than any model's.
    """
    left: list[tuple[str, Any]] = list(config.items())
    while left:
        key, value = left.pop()
        if isinstance(value, Mapping):
            left += [(str(inner), one) for inner, one in value.items()]
        elif isinstance(value, list | tuple):
            left += [(key, one) for one in value]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            counted = "layers" in key or "depth" in key or "heads" in key
            most = MOST_LAYERS if counted else LARGEST_SIDE if key == "image_size" else LARGEST_DIMENSION
            sized = any(word in key for word in ("size", "dim", "layers", "depth", "heads", "channels"))
            if sized and not abs(value) <= most:  # also NaN
                raise UsageError(
                    f"{name} states {key} = {value}, which no model has: copy or download it again."
                )


def ensure_room(parameters: int, name: str, *, bytes_each: float = 4.0) -> None:
    """Return where main memory holds a model of so many parameters; called before they are allocated.

    Raises:
        UsageError: it does not; the sentence says what it would take.
    """
    free, needed = free_main_memory(), parameters * bytes_each
    if free is not None and needed > free:
        raise UsageError(
            f"{name} describes a model of {needed / 1e9:,.1f} GB, and {free / 1e9:.1f} GB are free: close other "
            "programs, or copy or download it again if it should be smaller."
        )


def ensure_unpacked_fits(path: Path) -> None:
    """Return where a file of weights fits into main memory as it is unpacked: PyTorch's files are ZIP archives.

    Raises:
        UsageError: it does not fit.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(entry.file_size for entry in archive.infolist()))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        pass  # the old layout is no archive; what is damaged is told by the reader
    ensure_room(size, str(path), bytes_each=1.0)
