"""Settings that every training on labelled pictures has, and what a resumed one may change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pixelsleuth.core.settings import Count, Natural, Positive, Range, Share, flat
from pixelsleuth.errors import UsageError

if TYPE_CHECKING:
    from pixelsleuth.data.sample import Sample

RANDOM = "random"
"""`start` of a training that begins with random weights."""


@dataclass(frozen=True)
class Source:
    """One data set: as `open_data` takes it, and its weight in the mixture."""

    path: str = ""
    reader: str | None = None
    split: str | None = None
    weight: Positive = 1.0
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoints:
    """A checkpoint every `every` steps. The last `keep` are kept, and the best by `metric`."""

    every: Count = 100
    keep: Count = 2
    metric: Literal["score", "balanced_accuracy", "iou"] = "score"


@dataclass(frozen=True)
class Validation:
    """Validation every `every` steps (0: never), on `data` or on the share `hold_out` of the groups."""

    every: Natural = 0
    data: tuple[Source, ...] = ()
    hold_out: Annotated[float, Range(0, below=1)] = 0.0
    pictures: Count = 300
    texts: Natural = 8


@dataclass(frozen=True)
class RunSettings:
    """What the data, the loop and its checkpoints need; each training adds its own settings."""

    out: str = ""
    data: tuple[Source, ...] = ()
    allow_outside: bool = False
    start: str = ""
    steps: Count = 1000
    seed: Natural = 0
    batches: Literal["mixed", "grouped", "natural"] = "mixed"
    equalise: Literal["random", "fixed", "off"] = "random"
    augment: tuple[str, ...] = ()
    augment_share: Share = 0.5
    workers: Natural = 2
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    validation: Validation = field(default_factory=Validation)

    @property
    def batch_sizes(self) -> tuple[int, int]:
        """Pictures of a step over all processes, and of a micro-batch."""
        raise NotImplementedError

    @property
    def learns_masks(self) -> bool:
        """True where a part of the loss needs masks."""
        raise NotImplementedError

    def objection(self, sample: Sample) -> str:
        """Why this training cannot learn from a sample; empty where it can."""
        del sample
        return ""


FREE = (
    "out", "allow_outside", "workers", "tensorboard", "per_device", "sam_cache", "gradient_checkpointing",
    "checkpoints.keep", "parallel",
)  # fmt: skip
"""Keys that a resumed training may change: they do not decide what is learnt."""


def renamed(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings under their present names: older checkpoints call balanced accuracy `accuracy`."""
    kept = content.get("checkpoints")
    if not isinstance(kept, Mapping) or kept.get("metric") != "accuracy":
        return content
    return {**content, "checkpoints": {**kept, "metric": "balanced_accuracy"}}


def to_dict(settings: Any) -> dict[str, Any]:
    """The plain values of a dataclass, fit for JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return plain


def differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str] = FREE) -> list[str]:
    """Dotted keys, other than `free`, whose values differ between two configurations of plain values."""
    a, b = dict(flat(renamed(before))), dict(flat(renamed(now)))
    return [key for key in sorted({*a, *b}) if a.get(key) != b.get(key) and key not in free]


def fingerprint(content: Any) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def ensure_sound(settings: RunSettings) -> None:
    """Refuse settings that lack what every training needs. Raises UsageError."""
    for name in ("out", "data", "start"):
        if not getattr(settings, name):
            raise UsageError(f"The recipe names no {name}: add {name}=... to the command.")
    if settings.validation.every and not (settings.validation.data or settings.validation.hold_out):
        raise UsageError("validation.every needs pictures: give validation.data or validation.hold_out.")
