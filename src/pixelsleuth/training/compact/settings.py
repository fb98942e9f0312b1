"""Settings of the compact recipe: what every stage needs, then a group for each stage.

Field names are the keys of `recipes/compact.yaml`, which holds the values that the shipped model was made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pixelsleuth.core.settings import Count, Natural, Positive, fill
from pixelsleuth.errors import UsageError


@dataclass(frozen=True)
class Steps:
    """How long a network learns."""

    steps: Count = 1000
    """Batches."""
    batch: Count = 16
    """Canvases of a batch."""
    rate: Positive = 1e-3
    """The peak learning rate."""


@dataclass(frozen=True)
class Aligned:
    """Photographs that get a copy which passed through the autoencoder."""

    count: Natural = 301
    """Photographs."""


@dataclass(frozen=True)
class Whole:
    """The whole head."""

    draws: Count = 3
    """Descriptions of each picture."""
    strength: Positive = 0.001
    """Inverse ridge of the regression."""


@dataclass(frozen=True)
class Shards:
    """Stored features."""

    count: Count = 3500
    """Canvases of a folder."""
    shards: Count = 2
    """Folders."""


@dataclass(frozen=True)
class Judged:
    """What the decision is fitted on."""

    pictures: Count = 36
    """Pictures of each source and class."""
    forged: Natural = 360
    """Forgeries made of them."""


@dataclass(frozen=True)
class CompactRecipe:
    """A whole training of the bundled model: what every stage needs, then a group for each stage."""

    kind: str = "compact"
    """Names this recipe."""
    data: tuple[str, ...] = ()
    """Manifests."""
    lite: str = ""
    """Weights of EfficientNet-Lite0."""
    taef2: str = ""
    """Folder of TAEF2's weights."""
    start: str = ""
    """A compact checkpoint whose branches are trained on, or `none`."""
    out: str = ""
    """The folder to write."""
    allow_outside: bool = False
    """Also read paths that lead out of a manifest's folder."""
    sources: str = "none"
    """A YAML file of folds of sources, or `none`: five folds in turn."""
    fusion: Literal["tokens", "attention", "none", "linear"] = "tokens"
    """How the mask's query takes the detection in."""
    aligned: Aligned = field(default_factory=Aligned)
    local: Steps = field(default_factory=Steps)
    repeat: Steps = field(default_factory=Steps)
    whole: Whole = field(default_factory=Whole)
    features: Shards = field(default_factory=Shards)
    masks: Steps = field(default_factory=Steps)
    folds: Steps = field(default_factory=Steps)
    language: Steps = field(default_factory=Steps)
    scores: Judged = field(default_factory=Judged)

    def folder(self, name: str) -> Path:
        """The folder of a stage inside `out`."""
        return Path(self.out) / name

    @property
    def shards(self) -> list[Path]:
        """The folders of the stored features."""
        return [self.folder("features") / str(number) for number in range(self.features.shards)]


def read_recipe(content: Mapping[str, Any]) -> CompactRecipe:
    """The recipe that a YAML file and `key=value` overrides give.

    Raises:
        UsageError: an unknown key, a value of another type, or a file or folder that is not named.
    """
    recipe = fill(CompactRecipe, content)
    for name in ("data", "lite", "taef2", "start", "out"):
        if not getattr(recipe, name):
            raise UsageError(f"The recipe names no {name}: add {name}=... to the command.")
    return recipe
