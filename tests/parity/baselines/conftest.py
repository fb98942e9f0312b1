"""The baselines' goldens: formula weights, six pictures, and what the authors' code computes with them."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra vlm brings torch")


class Golden:
    """One golden folder: `facts` (golden.json), `tensors` (golden.safetensors), weights by formula."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / "golden.json").read_text())

    @cached_property
    def tensors(self) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(self.folder / "golden.safetensors")

    @cached_property
    def formula(self) -> Any:
        path = self.folder.parent / "formula_weights.py"
        spec = importlib.util.spec_from_file_location("formula_weights", path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def picture(self, i: int) -> np.ndarray:
        """Pixels (H, W, 3) uint8 of one of the six."""
        from pixelsleuth.pictures.images import open_picture

        return open_picture(str(self.folder.parent / "images" / f"{i}.png")).pixels

    def state(self, keys: str = "keys.json", **other: Any) -> dict[str, Any]:
        """All tensors of the published layout, constants included; `other` replaces gain or seed."""
        meta = json.loads((self.folder / keys).read_text()) | other
        made = self.formula.formula_state(meta["keys"], meta["gain"], meta["seed"], meta.get("shared"))
        state = {key: torch.from_numpy(value) for key, value in made.items()}
        return state | {key: self.tensors[f"const.{key}"] for key in state if f"const.{key}" in self.tensors}

    def load(
        self, network: Any, keys: str = "keys.json", added: dict[str, Any] | None = None, **other: Any
    ) -> Any:
        """A network with the formula's weights, in evaluation mode, loaded as strictly as a user's file is."""
        from pixelsleuth.models.weights import load_strict

        load_strict(network, self.state(keys, **other) | (added or {}))
        return network.eval()

    def look(self, network: Any, i: int) -> tuple[Any, Any]:
        """The prepared picture and what the network's forward makes of it alone."""
        prepared = network.prepare(self.picture(i))
        with torch.inference_mode():
            return prepared, network(prepared[None])

    def strides(self, name: str) -> tuple[int, ...]:
        """How a tensor of the golden was sampled; name as in the file, with the picture's number in front."""
        number, _, kind = name.partition(".")
        found = self.facts["strides"].get(kind, 1)
        found = found[number] if isinstance(found, dict) else found
        return tuple(found) if isinstance(found, list) else (found,)

    def close(self, name: str, ours: Any, tolerance: float, strides: tuple[int, ...] | None = None) -> None:
        """Compare with one tensor of the golden, in absolute terms."""
        steps = self.strides(name) if strides is None else strides
        sampled = ours[tuple(slice(None, None, step) for step in steps)]
        torch.testing.assert_close(
            sampled.float(), self.tensors[name], rtol=0, atol=tolerance, msg=lambda text: f"{name}: {text}"
        )

    def once(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, each answer computed once a module."""
        return functools.cache(make)


@pytest.fixture(scope="session")
def goldens(shared: Path) -> Callable[[str], Golden]:
    """A golden by its name."""
    return functools.cache(lambda name: Golden(shared / "parity" / "baselines" / name))
