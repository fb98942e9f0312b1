"""What a forge run is told: one dataclass a stage, read from YAML, with `key=value` on top.

Unknown keys and values of the wrong kind are refused with the nearest right one, before anything is loaded.

Run: `pixelsleuth forge recipes/forge/local.yaml photographs=DIR edit.paste_back=hard`
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelsleuth.core.settings import fill, read_yaml
from pixelsleuth.errors import UsageError

OPERATIONS = {"splice": 0.4, "copy-move": 0.25, "removal": 0.15, "local edit": 0.2}
"""Default shares of the classical operations."""


@dataclass(frozen=True)
class LlmConfig:
    """An OpenAI-compatible chat API. Prices are per million tokens, in any currency; without them no cost is told."""

    base_url: str = "http://127.0.0.1:8000/v1"
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    timeout: float = 120.0
    retries: int = 5
    requests_per_minute: float = 0.0
    parallel: int = 4
    temperature: float = 0.0
    max_tokens: int = 800
    strict_json: bool = True
    image_tokens: int = 765
    input_price: float | None = None
    output_price: float | None = None
    max_cost: float | None = None


@dataclass(frozen=True)
class ObjectsConfig:
    """Stage 1. `rules`: a COCO class is looked for in the caption; `llm`: the model of `llm` names the object."""

    method: str = "rules"
    llm: LlmConfig = field(default_factory=LlmConfig)


@dataclass(frozen=True)
class MasksConfig:
    """Stage 2. `shapes`: free shapes; `polygons`: those of the instances file; `grounded`: Grounding DINO, then SAM.

    `boxes` says which boxes count: the best, or the union of all above the threshold. `smallest` and `largest` bound
    the mask's share of the picture. UNKNOWN in the paper: thresholds and box rule; these defaults are LangSAM's.
    """

    method: str = "shapes"
    detector: str = "IDEA-Research/grounding-dino-base"
    segmenter: str = "facebook/sam2.1-hiera-small"
    box_threshold: float = 0.3
    text_threshold: float = 0.25
    boxes: str = "best"
    smallest: float = 0.005
    largest: float = 0.6


@dataclass(frozen=True)
class ChoicesConfig:
    """Stage 3. `object_share`: object replacements among all replacements (4 : 1);
    `edits_per_photograph`: how often each photograph is forged; `operations`: shares of the classical ones."""

    object_share: float = 0.8
    edits_per_photograph: int = 1
    operations: dict[str, float] = field(default_factory=lambda: dict(OPERATIONS))


@dataclass(frozen=True)
class EditConfig:
    """Stage 4. `classical` operations, or `inpaint` with a diffusers pipeline.

    `paste_back`: `none` keeps the whole decoded picture, `hard` and `feather` bring the original pixels back outside
    the mask. `dilate` grows the mask that the model is given. UNKNOWN in the paper: model, steps,
    guidance, dilation, paste-back; None takes the pipeline's own default.
    """

    method: str = "classical"
    pipeline: str = "StableDiffusionInpaintPipeline"
    model: str = ""
    revision: str | None = None
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    negative_prompt: str | None = None
    side: int = 512
    dilate: int = 8
    paste_back: str = "hard"
    feather: float = 3.0
    changed_above: int = 3
    least_changed: float = 0.15
    attempts: int = 3
    controls: bool = False
    dtype: str = "float32"


@dataclass(frozen=True)
class SynthesisConfig:
    """Stage 5. `none`; `diffusers`: text to image from captions by `generators` (names of the registry, or `model` for
    one of your own); `autoencoders`: photographs through TAEF2, whose weights lie in the folder `model`."""

    method: str = "none"
    generators: list[str] = field(default_factory=list)
    model: str = ""
    pipeline: str = "AutoPipelineForText2Image"
    steps: int | None = None
    guidance: float | None = None
    side: int = 1024
    per_photograph: int = 1
    dtype: str = "float32"


@dataclass(frozen=True)
class DescriptionsConfig:
    """Stage 6. `record`: true by construction; `llm`: the model writes SIDA's sections; `annotators`: several models
    write FakeClue's points and `llm` merges them. `style`: sida, fakeclue or prose."""

    method: str = "record"
    style: str = "sida"
    llm: LlmConfig = field(default_factory=LlmConfig)
    annotators: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class OutputConfig:
    """What is written. `quality`: the JPEG range that every class draws from; None is PNG for all. `names`: `jpg` for
    every class, or `sid_set` (`.jpg` real, `.png` others, as public loaders want), whatever the bytes are."""

    quality: list[int] | None = field(default_factory=lambda: [75, 95])
    names: str = "jpg"
    parquet: bool = True
    shard_pictures: int = 1000
    balance: bool = True
    title: str = "A forged data set"
    reviewed_only: bool = False


@dataclass(frozen=True)
class ForgeConfig:
    """A whole run. `photographs`: a folder, or a CSV manifest (path; optionally caption, licence, group, source);
    `split` takes the rows of that split of a manifest alone."""

    out: str = "runs/forge"
    photographs: str = ""
    split: str = ""
    captions: str = ""
    instances: str = ""
    licence: str = ""
    size: str = "native"
    validation: float = 0.2
    limit: int = 0
    seed: int = 0
    workers: int = 2
    device: str = "auto"
    allow_outside: bool = False
    objects: ObjectsConfig = field(default_factory=ObjectsConfig)
    masks: MasksConfig = field(default_factory=MasksConfig)
    choices: ChoicesConfig = field(default_factory=ChoicesConfig)
    edit: EditConfig = field(default_factory=EditConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    descriptions: DescriptionsConfig = field(default_factory=DescriptionsConfig)
    output: OutputConfig = field(default_factory=OutputConfig)


CHOICES = {
    "objects.method": ("rules", "llm"),
    "masks.method": ("shapes", "polygons", "grounded"),
    "masks.boxes": ("best", "union"),
    "edit.method": ("classical", "inpaint", "none"),
    "edit.paste_back": ("none", "hard", "feather"),
    "edit.dtype": ("float32", "float16", "bfloat16"),
    "synthesis.dtype": ("float32", "float16", "bfloat16"),
    "synthesis.method": ("none", "diffusers", "autoencoders"),
    "descriptions.method": ("record", "llm", "annotators"),
    "descriptions.style": ("sida", "fakeclue", "prose"),
    "output.names": ("jpg", "sid_set"),
    "device": ("auto", "cpu", "cuda"),
}


def read_config(path: Path, overrides: list[str]) -> ForgeConfig:
    """The configuration in a YAML file, with `key=value` on top (dots lead into a stage, values are YAML).

    Raises UsageError for a missing file, an unknown key, a value of the wrong kind, or photographs that are not named.
    """
    config = fill(ForgeConfig, read_yaml(path, overrides, example="recipes/forge/local.yaml", extra="forge"))
    _check(config)
    return config


def _check(config: ForgeConfig) -> None:
    for name, allowed in CHOICES.items():
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        if value not in allowed:
            raise UsageError(f"{name}={value!r}: choose one of {', '.join(allowed)}.")
    if not config.photographs:
        raise UsageError("No photographs were named; add photographs=FOLDER, or a CSV manifest.")
    unknown = set(config.choices.operations) - set(OPERATIONS)
    if unknown:
        raise UsageError(
            f"choices.operations: {', '.join(sorted(unknown))} is none of {', '.join(OPERATIONS)}."
        )
    if config.edit.method == "inpaint" and not config.edit.model:
        raise UsageError("edit.method=inpaint needs edit.model: a folder or a hub id of an inpainting model.")
    quality = config.output.quality
    if quality is not None and not (len(quality) == 2 and 1 <= quality[0] <= quality[1] <= 100):
        raise UsageError(
            f"output.quality={quality}: give two JPEG qualities, such as [75, 95], or null for PNG."
        )
    if not 0 <= config.validation < 1:
        raise UsageError(f"validation={config.validation}: give the share of validation, 0 up to 1.")


def settings(config: Any) -> dict[str, Any]:
    """A configuration as plain values, for fingerprints and the data card."""
    return dataclasses.asdict(config)
