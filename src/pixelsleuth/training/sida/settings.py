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
    """LoRA on the language model."""

    rank: Natural = 8
    """Rank of the update; 0: no LoRA."""
    alpha: float = 16.0
    """Its scale, times 1 / rank."""
    dropout: Annotated[float, Range(0, below=1)] = 0.05
    """Share of inputs that are dropped."""
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Layers that get an update."""


@dataclass(frozen=True)
class Weights:
    """Weights of the parts of the loss (equations 5 and 6)."""

    detection: NonNegative = 1.0
    """lambda_det of equation 6."""
    text: NonNegative = 1.0
    """lambda_txt of equation 6."""
    mask: NonNegative = 1.0
    """lambda_mask of equation 6."""
    bce: NonNegative = 2.0
    """lambda_bce of equation 5."""
    dice: NonNegative = 0.5
    """lambda_dice of equation 5."""


@dataclass(frozen=True)
class Optimiser:
    """AdamW with linear warmup and one of transformers' schedules."""

    learning_rate: Positive = 1e-4
    """The peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Adam's."""
    weight_decay: NonNegative = 0.0
    """AdamW's."""
    warmup: Natural = 100
    """Steps of linear warmup."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """How the rate falls after it."""
    clip: float = 1.0
    """The largest norm of the gradient."""


@dataclass(frozen=True)
class RandomModel:
    """Dimensions of a model drawn at random (`start: random`)."""

    pieces: Count = 150
    """Pieces of the tokenizer, learnt from the prompts."""
    sida: dict = field(default_factory=dict)
    """Values of `LargeConfig`."""
    clip: dict = field(default_factory=dict)
    """Values of CLIP's vision configuration."""
    sam: dict = field(default_factory=dict)
    """Values of the configuration of SAM's image encoder."""


@dataclass(frozen=True)
class SidaSettings(RunSettings):
    """A whole training of SIDA."""

    stage: Literal[1, 2] = 1
    """1: detection and localization; 2: descriptions, too."""
    steps: Count = 5000
    """Steps of the optimiser."""
    global_batch: Count = 40
    """Pictures of a step, over all processes."""
    per_device: Count = 2
    """Pictures of a micro-batch."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Precision of the computation."""
    frozen: Literal["fp32", "bf16"] = "bf16"
    """Precision of the weights that do not learn."""
    gradient_checkpointing: bool = False
    """Compute activations twice, to hold fewer."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share the work: `ddp` holds all weights in each, `fsdp` a part."""
    full: tuple[Annotated[str, OneOf(MODULES)], ...] = FULL
    """Modules that learn in full."""
    det_projection: Literal["logits", "hidden"] | None = None
    """The detection state that is projected; null: the start's."""
    fusion: Literal["attention", "none", "linear", "tokens"] | None = None
    """How the mask's query takes the detection in; null: the start's."""
    clip: str | None = None
    """CLIP's vision tower: a folder or a hub id; null: what the start names."""
    descriptions: Literal["given", "measured"] = "given"
    """`given`: those of the data; `measured`: where there is none, what can be measured."""
    sam_cache: str | None = None
    """Folder in which the embeddings of SAM's image encoder are kept; needs `equalise` `fixed` or `off`."""
    workers: Natural = 4
    """Threads that read and prepare pictures; 0: none of their own."""
    tensorboard: bool = False
    """Also write for TensorBoard."""
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
