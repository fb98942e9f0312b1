"""What the training of a baseline is told: dataclasses, filled from a YAML recipe and `key=value` overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.settings import fill
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import UsageError
from pixelsleuth.training.sida.config import (
    Checkpoints,
    Source,
    TrainConfig,
    Validation,
    Weights,
    ensure_sound,
    renamed,
)

if TYPE_CHECKING:
    from pixelsleuth.models.baseline import Baseline

RANDOM = "random"


@dataclass(frozen=True)
class BaselineOptimiser:
    """The optimiser and how its rate falls.

    `betas` are Adam's, `momentum` is SGD's, `clip` is the largest norm of the gradient (0: any). The schedules, each
    after `warmup` steps but the last two: `constant`; `linear` and `cosine`, to 0 at the last step; `step`, the rate
    times `decay` every `decay_every` steps; `plateau`, the rate times `decay` where `patience` validations in a row
    did not raise the score by `least_gain`. A training ends early once the rate is below `floor`.
    """

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float = 0.0
    schedule: Literal["constant", "linear", "cosine", "step", "plateau"] = "constant"
    warmup: int = 0
    decay: float = 0.1
    decay_every: int = 1000
    patience: int = 5
    least_gain: float = 1e-3
    floor: float = 0.0


@dataclass(frozen=True)
class BaselineConfig:
    """A whole training; `minutes` ends it early (0: never), so that detectors can be given the same time.

    `classes` are those that are learnt from: all, or real and the one that a detector was made for. Empty, a detector
    of synthetic pictures takes what the data have (every fake is fake to it), a localizer real and tampered pictures.
    """

    kind: str = "baseline"
    baseline: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    data: tuple[Source, ...] = ()
    allow_outside: bool = False
    classes: tuple[str, ...] = ()
    out: str = ""
    start: str = RANDOM
    steps: int = 1000
    minutes: float = 0.0
    batch: int = 32
    seed: int = 0
    batches: Literal["mixed", "natural"] = "mixed"
    equalise: Literal["random", "fixed", "off"] = "random"
    augment: tuple[str, ...] = ()
    augment_share: float = 0.5
    workers: int = 2
    optimiser: BaselineOptimiser = field(default_factory=BaselineOptimiser)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    validation: Validation = field(default_factory=Validation)


FREE = ("minutes",)
"""What a resumed training may change besides what SIDA's may."""


def sound(content: Mapping[str, Any]) -> BaselineConfig:
    """The configuration of a recipe's content. Raises UsageError for what cannot be carried out."""
    config = fill(BaselineConfig, renamed(content))
    ensure_sound(data_of(config))
    how = config.optimiser
    if config.minutes < 0:
        raise UsageError("minutes must not be negative.")
    if how.warmup < 0 or how.decay_every < 1 or how.patience < 1 or not 0 < how.decay <= 1:
        raise UsageError(
            "optimiser.warmup must not be negative, decay_every and patience at least 1, decay above 0 and at most 1."
        )
    if how.schedule == "plateau" and not config.validation.every:
        raise UsageError(
            "schedule: plateau looks at validations: give validation.every and validation.hold_out."
        )
    unknown = [name for name in config.classes if name not in LABELS]
    if unknown:
        raise UsageError(f"There is no class {unknown[0]!r}{suggestion(unknown[0], LABELS)}.")
    if config.classes and (LABELS[0] not in config.classes or len(set(config.classes)) < 2):
        raise UsageError("classes must hold real and a class of fakes.")
    return config


def data_of(config: BaselineConfig) -> TrainConfig:
    """What the data part of SIDA's training is told."""
    return TrainConfig(
        out=config.out, data=config.data, allow_outside=config.allow_outside, start=config.start,
        steps=config.steps, seed=config.seed,
        global_batch=config.batch, per_device=config.batch, batches=config.batches, equalise=config.equalise,
        augment=config.augment, augment_share=config.augment_share, workers=config.workers,
        weights=Weights(mask=float(kind_of(config).facts.localizes)), checkpoints=config.checkpoints,
        validation=config.validation,
    )  # fmt: skip


def kind_of(config: BaselineConfig) -> type[Baseline]:
    """The class that is trained. Raises UsageError for an unknown one."""
    from pixelsleuth.models.baseline import baseline_class

    return baseline_class(config.baseline)


def classes_of(config: BaselineConfig) -> tuple[int, ...] | None:
    """The classes that must be there, and no other is learnt from; None: real and whatever fakes there are."""
    kind = kind_of(config)
    if config.classes:
        return tuple(sorted({LABELS.index(name) for name in config.classes}))
    if kind.three_classes:
        return (0, 1, 2)
    return (0, LABELS.index(kind.facts.made_for)) if kind.facts.localizes else None
