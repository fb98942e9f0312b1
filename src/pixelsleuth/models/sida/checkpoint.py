"""Load and save the large SIDA in the published layout and in our own; every parameter must fit.

The published layout is what a hub download of a SIDA checkpoint holds. Our own keeps CLIP, tokenizer and settings in
the same folder, as safetensors under our parameters' names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from pixelsleuth.core.io import write_json
from pixelsleuth.core.progress import progress
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.precision import compress, ensure_memory
from pixelsleuth.models.sida.large import LargeConfig, LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor, ensure_same_preparation
from pixelsleuth.models.sida.published import (
    clip_name,
    dimensions,
    ensure_as_trained,
    marks_picture,
    our_name,
)
from pixelsleuth.models.sida.tokenizer import LegacyTokenizer
from pixelsleuth.models.weights import Shards, ensure_finite, ensure_fits, read_config, shapes_of

MODEL_TYPE = "pixelsleuth_sida"
CLIP_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_channels", "image_size",
    "patch_size", "hidden_act", "layer_norm_eps",
)  # fmt: skip
SHARD = "5GB"
"""Of a checkpoint's weights; larger ones are cut."""
CHECKPOINT_FILES = ("config.json", "tokenizer.model")


class Weights(Protocol):
    """Tensors by the names of the published layout, see `weights.Shards`."""

    @property
    def names(self) -> list[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def tensors(self) -> Iterator[tuple[str, Tensor]]: ...


def load_large(
    name: str,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    precision: str = "fp32",
    template: str | None = None,
    clip: str | None = None,
    sam: dict[str, Any] | None = None,
    weights: Weights | None = None,
    detection: bool = True,
    fetching: Mapping[str, Any] | None = None,
) -> tuple[LargeSida, SidaProcessor]:
    """The model and the processor of a folder or a hub id, in either layout.

    Args:
        name: folder or hub id.
        dtype: of all floating-point weights.
        device: where the weights go.
        precision: "int8" and "int4" compress the language model's layers (bitsandbytes, on a GPU).
        template: conversation template; None takes the checkpoint's own, or `llava_v1`.
        clip: folder or hub id of CLIP's vision tower; None takes the one that config.json names.
        sam: values of SamVisionConfig that override those inferred from the weights.
        weights: tensors of the published layout, in place of the folder's.
        detection: False for a checkpoint of LISA: the same model without [CLS], class head and fusion.
        fetching: options of `hub.download` for a vision tower on the hub.

    Raises:
        UsageError: files or parameters are missing, unexpected or damaged.
    """
    folder = hub.resolve(name)
    config = read_config(folder)
    tokenizer = LegacyTokenizer.from_folder(folder)
    for token in ("[CLS]", "[SEG]") if detection else ("[SEG]",):
        tokenizer.id(token)
    if config.get("model_type") == MODEL_TYPE:
        large, tensors = _own(folder, config)
    else:
        tower = hub.resolve(
            clip or str(config.get("mm_vision_tower") or config.get("vision_tower")),
            beside=folder, **fetching or {},
        )  # fmt: skip
        large, tensors = _published(
            folder, config, weights or Shards(folder), tower, sam or {}, tokenizer.added, detection=detection
        )
    if len(tokenizer) > large.sida["language"]["vocab_size"]:
        raise UsageError(
            f"{folder} has a tokenizer of {len(tokenizer)} tokens for an embedding of "
            f"{large.sida['language']['vocab_size']}: take the tokenizer files of the same checkpoint."
        )
    model = build(large, tensors, dtype=dtype, device=device, name=name, precision=precision)
    return model, processor(large, tokenizer, template)


def processor(config: LargeConfig, tokenizer: LegacyTokenizer, template: str | None = None) -> SidaProcessor:
    """The processor for a model of these dimensions."""
    return SidaProcessor(
        tokenizer,
        clip_side=config.clip["image_size"],
        sam_side=config.sam["image_size"],
        template=template or config.trained.get("template", "llava_v1"),
        context=config.sida["language"].get("max_position_embeddings", 2048),
        picture_tokens=config.picture_tokens,
        marked=config.trained.get("marked", True),
    )


def build(
    config: LargeConfig,
    weights: Iterable[tuple[str, Tensor]],
    *,
    dtype: torch.dtype,
    device: str,
    name: str,
    precision: str | None = None,
) -> LargeSida:
    """A model whose every parameter comes from `weights`; none is initialised otherwise, none is left over.

    Raises:
        UsageError: keys that are missing or unexpected, or whose shape differs; too little memory; NaN.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        model = LargeSida(config)
    kind = precision or ("fp32" if dtype is torch.float32 else "bf16")
    ensure_memory(name, *sizes(model), kind, device)
    inside = device if kind not in ("int8", "int4") else "cpu"  # compressed on the way to the GPU
    expected = shapes_of(model.state_dict())
    shapes: dict[str, torch.Size] = {}
    with progress(f"Loading {name}", len(expected)) as bar:
        for key, value in weights:
            bar()
            shapes[key] = value.shape
            if value.shape == expected.get(key):
                kept = value.to(device=inside, dtype=dtype if value.is_floating_point() else None, copy=True)
                ensure_finite([(key, kept)], name)
                model.load_state_dict({key: kept}, strict=False, assign=True)
    ensure_fits(name, "SIDA" if config.sida.get("detection", True) else "LISA", model, shapes)
    if inside != device:
        compress(model.sida.language.model.layers, kind)
    return model.to(device).eval().requires_grad_(False)


def sizes(model: LargeSida) -> tuple[int, int]:
    """Parameters of the model, and those that int8 and int4 compress: the language model's layers."""
    layers = model.sida.language.model.layers
    return sum(p.numel() for p in model.parameters()), sum(p.numel() for p in layers.parameters())


def save_large(
    model: LargeSida, processor: SidaProcessor, folder: Path, *, max_shard_size: int | str = SHARD
) -> None:
    """Write our own layout: config.json, safetensors (in shards of at most `max_shard_size`), tokenizer files."""
    from huggingface_hub import save_torch_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": MODEL_TYPE, **dataclasses.asdict(model.config)}
    write_json(folder / "config.json", config)
    processor.tokenizer.save(folder)
    save_torch_state_dict(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder,
        max_shard_size=max_shard_size,
    )


def remove_stale(folder: Path, written: Container[str]) -> None:
    """Remove the weights of an earlier checkpoint from a folder to which `written` was moved.

    An index of shards that stayed would be read in place of the new weights.
    """
    for path in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
        if path.name not in written:
            path.unlink()


def _own(folder: Path, config: dict[str, Any]) -> tuple[LargeConfig, Iterator[tuple[str, Tensor]]]:
    names = {field.name for field in dataclasses.fields(LargeConfig)}
    try:
        large = LargeConfig(**{key: value for key, value in config.items() if key in names})
    except TypeError as error:
        raise UsageError(f"{folder / 'config.json'} was not written by this version ({error}).") from None
    return large, Shards(folder).tensors()


def _published(
    folder: Path,
    config: dict[str, Any],
    shards: Weights,
    tower: Path,
    sam: dict[str, Any],
    added: Container[str],
    *,
    detection: bool = True,
) -> tuple[LargeConfig, Iterator[tuple[str, Tensor]]]:
    ensure_as_trained(config)
    sida, inferred_sam = dimensions(config, shards.shape, shards.names, detection=detection)
    vision = read_config(tower)
    vision = vision.get("vision_config", vision)
    missing = [
        key for key in CLIP_KEYS if key not in vision and key not in ("num_channels", "layer_norm_eps")
    ]
    if missing:
        raise UsageError(f"{tower / 'config.json'} is not CLIP's: it lacks {', '.join(missing)}.")
    ensure_same_preparation(tower / "preprocessor_config.json", vision["image_size"])
    large = LargeConfig(
        sida=sida,
        clip={key: vision[key] for key in CLIP_KEYS if key in vision},
        sam=inferred_sam | sam,
        layer=int(config.get("mm_vision_select_layer", -2)),
        trained={
            "template": config.get("conv_type", "llava_v1"),
            **({} if marks_picture(config, added) else {"marked": False}),
        },
    )
    depth = sida["mask"]["decoder"]["iou_head_depth"]
    last = large.clip["num_hidden_layers"] + large.layer

    def tensors() -> Iterator[tuple[str, Tensor]]:
        named: Iterable[tuple[str | None, Tensor]] = (
            (our_name(key, depth), value) for key, value in shards.tensors()
        )
        if not any(".vision_tower." in key for key in shards.names):
            named = chain(named, ((clip_name(key), value) for key, value in Shards(tower).tensors()))
        yield from ((name, value) for name, value in named if name is not None and not _behind(name, last))

    return large, tensors()


def _behind(name: str, last: int) -> bool:
    """True for a parameter of CLIP behind layer `last`, the one that is read."""
    if name.startswith("clip.post_layernorm"):
        return True
    return name.startswith("clip.encoder.layers.") and int(name.split(".")[3]) > last
