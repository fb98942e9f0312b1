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
    """How long a network learns: `steps` batches of `batch` canvases at the peak learning rate `rate`."""

    steps: Count = 1000
    batch: Count = 16
    rate: Positive = 1e-3


@dataclass(frozen=True)
class Aligned:
    """`count` photographs get a copy that passed through the autoencoder."""

    count: Natural = 301


@dataclass(frozen=True)
class Whole:
    """The whole head: `draws` descriptions of each picture, `strength` of the regression (inverse ridge)."""

    draws: Count = 3
    strength: Positive = 0.001


@dataclass(frozen=True)
class Shards:
    """Stored features: `shards` folders of `count` canvases each."""

    count: Count = 3500
    shards: Count = 2


@dataclass(frozen=True)
class Judged:
    """What the decision is fitted on: `pictures` of each source and class, and `forged` forgeries of them."""

    pictures: Count = 36
    forged: Natural = 360


@dataclass(frozen=True)
class CompactRecipe:
    """`data`: manifests. `lite`: weights of EfficientNet-Lite0. `taef2`: folder of TAEF2's weights. `start`: a compact
    checkpoint whose branches are trained on, or `none`. `sources`: a YAML file of folds, or `none`."""

    kind: str = "compact"
    data: tuple[str, ...] = ()
    lite: str = ""
    taef2: str = ""
    start: str = ""
    out: str = ""
    allow_outside: bool = False
    sources: str = "none"
    fusion: Literal["tokens", "attention", "none", "linear"] = "tokens"
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
