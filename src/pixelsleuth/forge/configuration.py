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
    """An OpenAI-compatible chat API. Prices are in any currency; without them no cost is estimated."""

    base_url: str = "http://127.0.0.1:8000/v1"
    """Address of the API."""
    model: str = ""
    """Name of the model there."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key."""
    timeout: Positive = 120.0
    """Seconds for one answer."""
    retries: Natural = 5
    """Further tries after a temporary failure."""
    requests_per_minute: NonNegative = 0.0
    """Bound for all threads together; 0: none."""
    parallel: Count = 4
    """Requests at once."""
    temperature: NonNegative = 0.0
    """Of the answers."""
    max_tokens: Count = 800
    """Of one answer."""
    strict_json: bool = True
    """Ask for JSON by a schema; false for servers without schemas."""
    image_tokens: Natural = 765
    """Tokens that a picture counts in the estimate."""
    input_price: NonNegative | None = None
    """Per million tokens asked."""
    output_price: NonNegative | None = None
    """Per million tokens answered."""
    max_cost: NonNegative | None = None
    """Above this estimate nothing is sent."""


@dataclass(frozen=True)
class ObjectsConfig:
    """Stage 1: the object that is forged."""

    method: Literal["rules", "llm"] = "rules"
    """`rules`: a COCO class is looked for in the caption; `llm`: the model names the object."""
    llm: LlmConfig = field(default_factory=LlmConfig)


@dataclass(frozen=True)
class MasksConfig:
    """Stage 2: its mask. UNKNOWN in the paper: thresholds and box rule; these defaults are LangSAM's."""

    method: Literal["shapes", "polygons", "grounded"] = "shapes"
    """`shapes`: free shapes; `polygons`: those of the instances file; `grounded`: Grounding DINO, then SAM."""
    detector: str = "IDEA-Research/grounding-dino-base"
    """Grounding DINO: a folder or a hub id."""
    segmenter: str = "facebook/sam2.1-hiera-small"
    """SAM or SAM 2: a folder or a hub id."""
    box_threshold: Share = 0.3
    """Least score of a box."""
    text_threshold: Share = 0.25
    """Least score of a word."""
    boxes: Literal["best", "union"] = "best"
    """The best box, or the union of all above the threshold."""
    smallest: Share = 0.005
    """Least share of the picture."""
    largest: Share = 0.6
    """Largest share of the picture."""


@dataclass(frozen=True)
class ChoicesConfig:
    """Stage 3: what is done to it."""

    object_share: Share = 0.8
    """Object replacements among all replacements (4 : 1)."""
    edits_per_photograph: Natural = 1
    """How often each photograph is forged."""
    operations: dict[str, Any] = field(default_factory=lambda: dict(OPERATIONS))
    """Shares of the classical operations."""


@dataclass(frozen=True)
class EditConfig:
    """Stage 4: the edit. UNKNOWN in the paper: model, steps, guidance, dilation, paste-back; null takes the
    pipeline's own default."""

    method: Literal["classical", "inpaint", "none"] = "classical"
    """`classical` operations, `inpaint` with a diffusers pipeline, or `none`."""
    pipeline: str = "StableDiffusionInpaintPipeline"
    """Class of the pipeline."""
    model: str = ""
    """Its model: a folder or a hub id."""
    revision: str | None = None
    """Revision of a hub id."""
    steps: Count | None = None
    """Denoising steps."""
    guidance: NonNegative | None = None
    """Guidance scale."""
    strength: Share | None = None
    """How much of the picture is noised."""
    negative_prompt: str | None = None
    """What is not wanted."""
    side: Count = 512
    """Longer side at which the model works."""
    dilate: Natural = 8
    """Pixels by which the mask grows that the model is given."""
    paste_back: Literal["none", "hard", "feather"] = "hard"
    """Outside the mask: `none` keeps the decoded picture, `hard` and `feather` bring the original pixels back."""
    feather: NonNegative = 3.0
    """Deviation of the soft border, in pixels."""
    changed_above: Annotated[int, Range(0, 255)] = 3
    """Levels from which a pixel counts as changed."""
    least_changed: Share = 0.15
    """Share of the region that must change."""
    attempts: Count = 3
    """Tries with other seeds before an edit is given up."""
    controls: bool = False
    """Also write each photograph passed through the same autoencoder, unedited."""
    dtype: Precision = "float32"
    """Precision of the model."""


@dataclass(frozen=True)
class SynthesisConfig:
    """Stage 5: pictures that are generated as a whole."""

    method: Literal["none", "diffusers", "autoencoders"] = "none"
    """`none`; `diffusers`: text to image from captions; `autoencoders`: photographs through TAEF2."""
    generators: list[str] = field(default_factory=list)
    """Names of the registry of generators."""
    model: str = ""
    """One of your own, or the folder of TAEF2's weights."""
    pipeline: str = "AutoPipelineForText2Image"
    """Class of the pipeline of `model`."""
    steps: Count | None = None
    """Denoising steps."""
    guidance: NonNegative | None = None
    """Guidance scale."""
    side: Count = 1024
    """Side of the pictures."""
    per_photograph: Natural = 1
    """Pictures for each photograph."""
    dtype: Precision = "float32"
    """Precision of the model."""


@dataclass(frozen=True)
class DescriptionsConfig:
    """Stage 6: the texts."""

    method: Literal["record", "llm", "annotators"] = "record"
    """`record`: true by construction; `llm`: a model writes them; `annotators`: several models list points, and
    `llm` merges them."""
    style: Literal["sida", "fakeclue", "prose"] = "sida"
    """The form of the text."""
    llm: LlmConfig = field(default_factory=LlmConfig)
    annotators: list[dict[str, Any]] = field(default_factory=list)
    """Settings as those of `llm`, one a model."""


@dataclass(frozen=True)
class OutputConfig:
    """What is written."""

    quality: list[Quality] | None = field(default_factory=lambda: [75, 95])
    """JPEG range that every class draws from; null: PNG for all."""
    names: Literal["jpg", "sid_set"] = "jpg"
    """`jpg` for every class, or `sid_set`: `.jpg` real, `.png` others, whatever the bytes are."""
    parquet: bool = True
    """Also write the shards of the hub."""
    shard_pictures: Count = 1000
    """Pictures of a shard."""
    balance: bool = True
    """As many pictures of each class in each split."""
    title: str = "A forged data set"
    """Title of the data card."""
    reviewed_only: bool = False
    """Only pictures that a reviewer accepted."""


@dataclass(frozen=True)
class ForgeConfig:
    """A whole run."""

    out: str = "runs/forge"
    """The folder to write."""
    photographs: str = ""
    """A folder, or a manifest (path; optionally caption, licence, group, source)."""
    split: str = ""
    """Only the rows of this split of a manifest."""
    captions: str = ""
    """COCO captions, or JSON lines with image and caption."""
    instances: str = ""
    """Outlines of objects by file name, as COCO has them."""
    licence: str = ""
    """Of the photographs, for the records and the data card."""
    size: str = "native"
    """Size rule for every class: `native`, `crop:SIDE` or `fit:SIDE`."""
    validation: Annotated[float, Range(0, below=1)] = 0.2
    """Share of the groups in the split `validation`."""
    limit: Natural = 0
    """Photographs that are used; 0: all."""
    seed: int = 0
    """Seed of everything that is drawn."""
    workers: Natural = 2
    """Processes of this machine; 0: none of their own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run."""
    allow_outside: bool = False
    """Also read paths that lead out of the manifest's folder."""
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
