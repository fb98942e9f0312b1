"""What a training is told: dataclasses with the paper's values, filled from a YAML recipe and `key=value` overrides.

`read_config` refuses what it does not know ("did you mean"), values of another type, and settings that exclude each
other, before anything heavy is imported. docs/training.md explains every key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.settings import fill, flat, read_yaml
from pixelsleuth.errors import UsageError

FULL = ("embed_tokens", "mask_decoder", "segmentation", "detection", "fusion")
"""Modules that the paper trains in full."""
MODULES = {
    "embed_tokens": "sida.language.model.embed_tokens",
    "lm_head": "sida.language.lm_head",
    "language": "sida.language.model",
    "mask_decoder": "sida.decoder.decoder",
    "segmentation": "sida.segmentation",
    "detection": "sida.detection",
    "fusion": "sida.fusion",
    "projector": "sida.projector",
    "clip": "clip",
}
"""Names that `full` takes, and what they stand for in the model. SAM's image encoder is frozen, always."""


@dataclass(frozen=True)
class Source:
    """One data set: as `open_data` takes it, and its weight in the mixture."""

    path: str = ""
    reader: str | None = None
    split: str | None = None
    weight: float = 1.0
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Lora:
    """LoRA on the language model; rank 0 for none."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")


@dataclass(frozen=True)
class Weights:
    """lambda_det, lambda_txt, lambda_mask of equation 6, lambda_bce, lambda_dice of equation 5."""

    detection: float = 1.0
    text: float = 1.0
    mask: float = 1.0
    bce: float = 2.0
    dice: float = 0.5


@dataclass(frozen=True)
class Optimiser:
    """AdamW with linear warmup and one of transformers' schedules; `clip` is the largest norm of the gradient."""

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    warmup: int = 100
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    clip: float = 1.0


@dataclass(frozen=True)
class Checkpoints:
    """A checkpoint every so many steps, the last `keep` of them kept, and the best by `metric`."""

    every: int = 100
    keep: int = 2
    metric: Literal["score", "balanced_accuracy", "iou"] = "score"


@dataclass(frozen=True)
class Validation:
    """Free-running validation every so many steps (0: never), on `data` or on a share of the groups held out."""

    every: int = 0
    data: tuple[Source, ...] = ()
    hold_out: float = 0.0
    pictures: int = 300
    texts: int = 8


@dataclass(frozen=True)
class Drawn:
    """Dimensions of a model drawn at random (`start: random`): values of LargeConfig, and pieces of the tokenizer."""

    pieces: int = 150
    sida: dict = field(default_factory=dict)
    clip: dict = field(default_factory=dict)
    sam: dict = field(default_factory=dict)


@dataclass(frozen=True)
class TrainConfig:
    """A whole training."""

    out: str = ""
    data: tuple[Source, ...] = ()
    allow_outside: bool = False
    start: str = ""
    stage: Literal[1, 2] = 1
    steps: int = 5000
    seed: int = 0
    global_batch: int = 40
    per_device: int = 2
    batches: Literal["mixed", "grouped", "natural"] = "mixed"
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    frozen: Literal["fp32", "bf16"] = "bf16"
    gradient_checkpointing: bool = False
    full: tuple[str, ...] = FULL
    det_projection: Literal["logits", "hidden"] | None = None
    fusion: Literal["attention", "none", "linear", "tokens"] | None = None
    clip: str | None = None
    equalise: Literal["random", "fixed", "off"] = "random"
    descriptions: Literal["given", "measured"] = "given"
    augment: tuple[str, ...] = ()
    augment_share: float = 0.5
    sam_cache: str | None = None
    workers: int = 4
    tensorboard: bool = False
    lora: Lora = field(default_factory=Lora)
    weights: Weights = field(default_factory=Weights)
    optimiser: Optimiser = field(default_factory=Optimiser)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    validation: Validation = field(default_factory=Validation)
    random: Drawn = field(default_factory=Drawn)


FREE = (
    "out",
    "allow_outside",
    "workers",
    "tensorboard",
    "per_device",
    "sam_cache",
    "gradient_checkpointing",
    "checkpoints.keep",
)
"""Keys that a resumed training may change: they do not decide what is learnt."""


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a recipe, overrides applied.

    Raises:
        UsageError: no such file, unknown keys, values of another type, settings that exclude each other.
    """
    return from_recipe(read_yaml(path, overrides))


def from_recipe(content: Mapping[str, Any]) -> TrainConfig:
    """A sound configuration out of a recipe's content. Raises UsageError."""
    config = from_dict({key: value for key, value in content.items() if key != "kind"})
    ensure_sound(config)
    return config


def from_dict(content: Mapping[str, Any]) -> TrainConfig:
    """A configuration out of plain values, as `to_dict` gives them. Raises UsageError."""
    return fill(TrainConfig, renamed(content))


def renamed(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings under their names of today: recipes and checkpoints once called balanced accuracy `accuracy`."""
    kept = content.get("checkpoints")
    if not isinstance(kept, Mapping) or kept.get("metric") != "accuracy":
        return content
    return {**content, "checkpoints": {**kept, "metric": "balanced_accuracy"}}


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration's plain values, fit for JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Dotted keys that decide what is learnt and differ between two configurations (plain values)."""
    a, b = dict(flat(renamed(one))), dict(flat(renamed(other)))
    return [key for key in sorted({*a, *b}) if a.get(key) != b.get(key) and key not in FREE]


def fingerprint(content: Any) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def ensure_sound(config: TrainConfig) -> None:
    """Refuse settings that cannot be carried out."""
    for name in ("out", "data", "start"):
        if not getattr(config, name):
            raise UsageError(f"The recipe names no {name}: add {name}=... to the command.")
    for name, least in (("steps", 1), ("global_batch", 1), ("per_device", 1), ("workers", 0), ("seed", 0)):
        if getattr(config, name) < least:
            raise UsageError(f"{name} is {getattr(config, name)}: it must be at least {least}.")
    if config.checkpoints.every < 1 or config.checkpoints.keep < 1:
        raise UsageError("checkpoints.every and checkpoints.keep must be at least 1.")
    if not 0 <= config.validation.hold_out < 1 or not 0 <= config.augment_share <= 1:
        raise UsageError("validation.hold_out and augment_share are shares: they lie between 0 and 1.")
    if config.optimiser.learning_rate <= 0:
        raise UsageError("optimiser.learning_rate must be above 0.")
    if min(dataclasses.astuple(config.weights)) < 0:
        raise UsageError("weights must not be negative.")
    unknown = [name for name in config.full if name not in MODULES]
    if unknown:
        raise UsageError(f"full names no module {unknown[0]!r}{suggestion(unknown[0], MODULES)}.")
    if not config.full and not config.lora.rank:
        raise UsageError("Nothing would be trained: give full a module, or lora.rank more than 0.")
    if config.precision == "fp32" and config.frozen == "bf16":
        raise UsageError(
            "precision=fp32 needs frozen=fp32: bf16 weights are multiplied in mixed precision alone."
        )
    if config.sam_cache and (config.equalise == "random" or config.augment):
        raise UsageError(
            "sam_cache keeps one embedding a picture: it needs equalise=fixed (or off) and no augment."
        )
    if any(source.weight <= 0 for source in config.data):
        raise UsageError("The weight of a data set must be above 0: leave the set out instead.")
    if config.validation.every and not (config.validation.data or config.validation.hold_out):
        raise UsageError("validation.every needs pictures: give validation.data or validation.hold_out.")
