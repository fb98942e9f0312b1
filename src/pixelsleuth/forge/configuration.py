"""The settings of a forge run: one dataclass a stage, read from YAML, with `key=value` on top.

Run: `pixelsleuth forge recipes/forge/local.yaml photographs=DIR edit.paste_back=hard`
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pixelsleuth.core.settings import (
    Count,
    Natural,
    NonNegative,
    OneOf,
    Positive,
    Range,
    Share,
    fill,
    read_yaml,
)
from pixelsleuth.errors import UsageError

Precision = Literal["float32", "float16", "bfloat16"]
Quality = Annotated[int, Range(1, 100)]
OPERATIONS = {"splice": 0.4, "copy-move": 0.25, "removal": 0.15, "local edit": 0.2}
"""Default shares of the classical operations."""


@dataclass(frozen=True)
class LlmConfig:
    """An OpenAI-compatible chat API. Prices: per million tokens, in any currency; without them no cost is estimated."""

    base_url: str = "http://127.0.0.1:8000/v1"
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    timeout: Positive = 120.0
    retries: Natural = 5
    requests_per_minute: NonNegative = 0.0
    parallel: Count = 4
    temperature: NonNegative = 0.0
    max_tokens: Count = 800
    strict_json: bool = True
    image_tokens: Natural = 765
    input_price: NonNegative | None = None
    output_price: NonNegative | None = None
    max_cost: NonNegative | None = None


@dataclass(frozen=True)
class ObjectsConfig:
    """Stage 1. `rules`: a COCO class is looked for in the caption; `llm`: the model of `llm` names the object."""

    method: Literal["rules", "llm"] = "rules"
    llm: LlmConfig = field(default_factory=LlmConfig)


@dataclass(frozen=True)
class MasksConfig:
    """Stage 2. `shapes`: free shapes; `polygons`: those of the instances file; `grounded`: Grounding DINO, then SAM.

    `boxes` says which boxes count: the best, or the union of all above the threshold. `smallest` and `largest` bound
    the mask's share of the picture. UNKNOWN in the paper: thresholds and box rule; these defaults are LangSAM's.
    """

    method: Literal["shapes", "polygons", "grounded"] = "shapes"
    detector: str = "IDEA-Research/grounding-dino-base"
    segmenter: str = "facebook/sam2.1-hiera-small"
    box_threshold: Share = 0.3
    text_threshold: Share = 0.25
    boxes: Literal["best", "union"] = "best"
    smallest: Share = 0.005
    largest: Share = 0.6


@dataclass(frozen=True)
class ChoicesConfig:
    """Stage 3. `object_share`: object replacements among all replacements (4 : 1);
    `edits_per_photograph`: how often each photograph is forged; `operations`: shares of the classical ones."""

    object_share: Share = 0.8
    edits_per_photograph: Natural = 1
    operations: dict[str, Any] = field(default_factory=lambda: dict(OPERATIONS))


@dataclass(frozen=True)
class EditConfig:
    """Stage 4. `classical` operations, or `inpaint` with a diffusers pipeline.

    `paste_back`: `none` keeps the whole decoded picture, `hard` and `feather` bring the original pixels back outside
    the mask. `dilate` grows the mask that the model is given. UNKNOWN in the paper: model, steps,
    guidance, dilation, paste-back; None takes the pipeline's own default.
    """

    method: Literal["classical", "inpaint", "none"] = "classical"
    pipeline: str = "StableDiffusionInpaintPipeline"
    model: str = ""
    revision: str | None = None
    steps: Count | None = None
    guidance: NonNegative | None = None
    strength: Share | None = None
    negative_prompt: str | None = None
    side: Count = 512
    dilate: Natural = 8
    paste_back: Literal["none", "hard", "feather"] = "hard"
    feather: NonNegative = 3.0
    changed_above: Annotated[int, Range(0, 255)] = 3
    least_changed: Share = 0.15
    attempts: Count = 3
    controls: bool = False
    dtype: Precision = "float32"


@dataclass(frozen=True)
class SynthesisConfig:
    """Stage 5. `none`; `diffusers`: text to image from captions by `generators` (names of the registry, or `model` for
    one of your own); `autoencoders`: photographs through TAEF2, whose weights lie in the folder `model`."""

    method: Literal["none", "diffusers", "autoencoders"] = "none"
    generators: list[str] = field(default_factory=list)
    model: str = ""
    pipeline: str = "AutoPipelineForText2Image"
    steps: Count | None = None
    guidance: NonNegative | None = None
    side: Count = 1024
    per_photograph: Natural = 1
    dtype: Precision = "float32"


@dataclass(frozen=True)
class DescriptionsConfig:
    """Stage 6. `record`: true by construction; `llm`: the model writes SIDA's sections; `annotators`: several models
    write FakeClue's points and `llm` merges them. `style`: sida, fakeclue or prose."""

    method: Literal["record", "llm", "annotators"] = "record"
    style: Literal["sida", "fakeclue", "prose"] = "sida"
    llm: LlmConfig = field(default_factory=LlmConfig)
    annotators: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class OutputConfig:
    """What is written. `quality`: the JPEG range that every class draws from; None is PNG for all. `names`: `jpg` for
    every class, or `sid_set` (`.jpg` real, `.png` others, as public loaders want), whatever the bytes are."""

    quality: list[Quality] | None = field(default_factory=lambda: [75, 95])
    names: Literal["jpg", "sid_set"] = "jpg"
    parquet: bool = True
    shard_pictures: Count = 1000
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
    validation: Annotated[float, Range(0, below=1)] = 0.2
    limit: Natural = 0
    seed: int = 0
    workers: Natural = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    allow_outside: bool = False
    objects: ObjectsConfig = field(default_factory=ObjectsConfig)
    masks: MasksConfig = field(default_factory=MasksConfig)
    choices: ChoicesConfig = field(default_factory=ChoicesConfig)
    edit: EditConfig = field(default_factory=EditConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    descriptions: DescriptionsConfig = field(default_factory=DescriptionsConfig)
    output: OutputConfig = field(default_factory=OutputConfig)


def read_config(path: Path, overrides: list[str]) -> ForgeConfig:
    """The configuration in a YAML file, with `key=value` on top (dots lead into a stage, values are YAML).

    Raises UsageError for a missing file, an unknown key, a value out of its range, or photographs that are not named.
    """
    config = fill(ForgeConfig, read_yaml(path, overrides, example="recipes/forge/local.yaml", extra="forge"))
    if not config.photographs:
        raise UsageError("No photographs were named; add photographs=FOLDER, or a CSV manifest.")
    shares = config.choices.operations
    for name, share in shares.items():
        OneOf(OPERATIONS).check("choices.operations", name)
        if isinstance(share, bool) or not isinstance(share, int | float) or share not in Range(0):
            raise UsageError(f"choices.operations.{name} is {share!r}: a share is a number, at least 0.")
    if config.edit.method == "classical" and not sum(shares.values()) > 0:
        raise UsageError("choices.operations leaves no operation: give one of them a share above 0.")
    if config.edit.method == "inpaint" and not config.edit.model:
        raise UsageError("edit.method=inpaint needs edit.model: a folder or a hub id of an inpainting model.")
    quality = config.output.quality
    if quality is not None and not (len(quality) == 2 and quality[0] <= quality[1]):
        raise UsageError(
            f"output.quality={quality}: give two JPEG qualities, such as [75, 95], or null for PNG."
        )
    return config
