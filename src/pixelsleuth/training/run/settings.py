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
    """A folder, a manifest, or hf:owner/name, as `open_data` takes it."""
    reader: str | None = None
    """Read it as this data set; null: by its layout."""
    split: str | None = None
    """Only this part; null: `train`, where there are several."""
    weight: Positive = 1.0
    """Its weight in the mixture."""
    settings: dict = field(default_factory=dict)
    """Settings of its reader."""


@dataclass(frozen=True)
class Checkpoints:
    """When checkpoints are written, and which are kept."""

    every: Count = 100
    """Steps between two checkpoints."""
    keep: Count = 2
    """The last so many are kept, and the best."""
    metric: Literal["score", "balanced_accuracy", "iou"] = "score"
    """What the best checkpoint is best by."""


@dataclass(frozen=True)
class Validation:
    """When the model is judged while it learns, and on what."""

    every: Natural = 0
    """Steps between two validations; 0: none."""
    data: tuple[Source, ...] = ()
    """Data to validate on; empty: what is held out."""
    hold_out: Annotated[float, Range(0, below=1)] = 0.0
    """Share of the groups that are held out of the data."""
    pictures: Count = 300
    """Pictures that are judged, at most."""
    texts: Natural = 8
    """Texts that are written, at most."""


@dataclass(frozen=True)
class RunSettings:
    """What the data, the loop and its checkpoints need; each training adds its own settings."""

    out: str = ""
    """The folder to write."""
    data: tuple[Source, ...] = ()
    """What is learnt from: one data set, or a weighted mixture."""
    allow_outside: bool = False
    """Also read paths that lead out of a set's folder."""
    start: str = ""
    """A checkpoint that the training begins with, or `random`."""
    steps: Count = 1000
    """Steps of the optimiser."""
    seed: Natural = 0
    """Seed of everything that is drawn."""
    batches: Literal["mixed", "grouped", "natural"] = "mixed"
    """`mixed`: each class the same share of every batch; `grouped`: one class a micro-batch; `natural`: pictures
    at their own frequency."""
    equalise: Literal["random", "fixed", "off"] = "random"
    """`random`: each picture gets a resize, noise and a compression, of one distribution for all classes;
    `fixed`: one JPEG pass at quality 90; `off`: as it is."""
    augment: tuple[str, ...] = ()
    """Perturbations, such as `jpeg:70`, for a share of the pictures."""
    augment_share: Share = 0.5
    """That share."""
    workers: Natural = 2
    """Threads that read and prepare pictures; 0: none of their own."""
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
