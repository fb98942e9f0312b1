"""The tiny recipe at its tiniest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pixelsleuth.training.sida.settings import SidaSettings, read_settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tiny(manifest: Path, tmp_path: Path) -> Callable[..., SidaSettings]:
    """The tiny recipe on `manifest`, four steps of three pictures; more overrides as given."""

    def make(*overrides: str, recipe: str = "tiny.yaml") -> SidaSettings:
        own = [
            f"data={manifest}",
            f"out={tmp_path / 'out'}",
            "steps=4",
            "global_batch=3",
            "per_device=3",
            "workers=0",
        ]
        return read_settings(ROOT / "recipes" / recipe, [*own, "checkpoints.every=2", *overrides])

    return make
