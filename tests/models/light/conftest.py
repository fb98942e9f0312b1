"""Weights of Community-Forensics' true architecture in the published layout, by a formula."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pixelsleuth.models.light.form import read, shipped


def formula_state(size: str) -> dict[str, np.ndarray]:
    """Every tensor of the published file, drawn by a generator seeded by its name; needs no torch."""
    path = shipped("commfor", {"size": size})
    assert path is not None
    shapes: dict[str, list[int]] = {}
    for part in read(path).tensors.values():
        rows = max(part.stop, shapes.get(part.key, [0])[0])
        shapes[part.key] = [rows, *part.shape[1:]]
    state = {}
    for key, shape in shapes.items():
        random = np.random.default_rng(zlib.crc32(key.encode()))
        values = random.standard_normal(shape, np.float32)
        state[key] = (1 if "norm" in key and key.endswith("weight") else 0) + values * np.float32(
            1.5 * np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1
        )
    return state


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of weights for "384" or "224"."""
    from safetensors.numpy import save_file

    @cache
    def made(size: str) -> Path:
        path = tmp_path_factory.mktemp(size) / "model.safetensors"
        save_file(formula_state(size), path)
        return path

    return made
