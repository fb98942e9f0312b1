"""Settings of SIDA's training, with the paper's values as defaults. docs/background/training.md explains every key.

Unknown keys, values of another type and settings that exclude each other are refused before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pixelsleuth.core.settings import Count, Natural, NonNegative, OneOf, Positive, Range, fill, read_yaml
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import UsageError
from pixelsleuth.training.run.settings import RunSettings, ensure_sound, renamed

if TYPE_CHECKING:
    from pixelsleuth.data.sample import Sample

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
class Lora:
    """LoRA on the language model; rank 0 for none."""

    rank: Natural = 8
    alpha: float = 16.0
    dropout: Annotated[float, Range(0, below=1)] = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")


@dataclass(frozen=True)
class Weights:
    """lambda_det, lambda_txt, lambda_mask of equation 6, lambda_bce, lambda_dice of equation 5."""

    detection: NonNegative = 1.0
    text: NonNegative = 1.0
    mask: NonNegative = 1.0
    bce: NonNegative = 2.0
    dice: NonNegative = 0.5


@dataclass(frozen=True)
class Optimiser:
    """AdamW with linear warmup and one of transformers' schedules; `clip` is the largest norm of the gradient."""

    learning_rate: Positive = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: NonNegative = 0.0
    warmup: Natural = 100
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    clip: float = 1.0


@dataclass(frozen=True)
class RandomModel:
    """Dimensions of a model drawn at random (`start: random`): values of LargeConfig, and pieces of the tokenizer."""

    pieces: Count = 150
    sida: dict = field(default_factory=dict)
    clip: dict = field(default_factory=dict)
    sam: dict = field(default_factory=dict)


@dataclass(frozen=True)
class SidaSettings(RunSettings):
    """A whole training of SIDA."""

    stage: Literal[1, 2] = 1
    steps: Count = 5000
    global_batch: Count = 40
    per_device: Count = 2
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    frozen: Literal["fp32", "bf16"] = "bf16"
    gradient_checkpointing: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    full: tuple[Annotated[str, OneOf(MODULES)], ...] = FULL
    det_projection: Literal["logits", "hidden"] | None = None
    fusion: Literal["attention", "none", "linear", "tokens"] | None = None
    clip: str | None = None
    descriptions: Literal["given", "measured"] = "given"
    sam_cache: str | None = None
    workers: Natural = 4
    tensorboard: bool = False
    lora: Lora = field(default_factory=Lora)
    weights: Weights = field(default_factory=Weights)
    optimiser: Optimiser = field(default_factory=Optimiser)
    random: RandomModel = field(default_factory=RandomModel)

    @property
    def batch_sizes(self) -> tuple[int, int]:
        return self.global_batch, self.per_device

    @property
    def learns_masks(self) -> bool:
        return self.weights.mask > 0

    def objection(self, sample: Sample) -> str:
        if self.stage == 1 or sample.description.strip():
            return ""
        measurable = sample.label != LABELS[2] or sample.mask is not None
        return "" if self.descriptions == "measured" and measurable else "no description"


def read_settings(path: Path, overrides: Sequence[str] = ()) -> SidaSettings:
    """The settings of a recipe, overrides applied.

    Raises:
        UsageError: no such file, unknown keys, values of another type, settings that exclude each other.
    """
    return from_recipe(read_yaml(path, overrides))


def from_recipe(content: Mapping[str, Any]) -> SidaSettings:
    """The settings of a recipe's content. Raises UsageError."""
    settings = from_dict({key: value for key, value in content.items() if key != "kind"})
    ensure_consistent(settings)
    return settings


def from_dict(content: Mapping[str, Any]) -> SidaSettings:
    """Settings out of plain values, as `to_dict` gives them. Raises UsageError."""
    return fill(SidaSettings, renamed(content))


def ensure_consistent(settings: SidaSettings) -> None:
    """Refuse settings that exclude each other. Raises UsageError."""
    ensure_sound(settings)
    if not settings.full and not settings.lora.rank:
        raise UsageError("Nothing would be trained: give full a module, or lora.rank more than 0.")
    if settings.precision == "fp32" and settings.frozen == "bf16":
        raise UsageError(
            "precision=fp32 needs frozen=fp32: bf16 weights are multiplied in mixed precision alone."
        )
    if settings.precision == "fp16" and settings.parallel == "fsdp":
        raise UsageError("parallel=fsdp works with bf16 or fp32, not with fp16.")
    if settings.sam_cache and (settings.equalise == "random" or settings.augment):
        raise UsageError(
            "sam_cache keeps one embedding a picture: it needs equalise=fixed (or off) and no augment."
        )
