"""The goldens: complete tiny checkpoints in the published layout, and what the reference implementation computes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDERS = ("sida", "sida_description")


@dataclass
class Golden:
    """One golden folder, its engine, its figures and its pictures."""

    folder: Path
    engine: Any
    facts: dict[str, Any]
    tensors: dict[str, Any]

    def picture(self, name: str) -> np.ndarray:
        """Pixels of one picture."""
        from pixelsleuth.pictures.images import open_picture

        return open_picture(str(self.folder / name)).pixels

    @cached_property
    def pictures(self) -> list[np.ndarray]:
        """All eight, in the order of the samples."""
        return [self.picture(sample["image"]) for sample in self.facts["samples"]]

    @cached_property
    def generated(self) -> list[Any]:
        """The free-running replies on all eight."""
        return self.engine.generate(self.pictures, self.facts["question"], max_new_tokens=128)


@pytest.fixture(scope="session", params=FOLDERS)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    """Each golden folder in turn."""
    from safetensors.torch import load_file

    from pixelsleuth.models.sida.checkpoint import load_large
    from pixelsleuth.models.sida.inference import SidaEngine

    folder = shared / "parity" / request.param
    engine = SidaEngine(*load_large(str(folder)))
    facts = json.loads((folder / "golden.json").read_text())
    return Golden(folder, engine, facts, load_file(folder / "golden.safetensors"))
