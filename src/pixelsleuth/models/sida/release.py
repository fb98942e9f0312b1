"""Write SIDA in the layout that its authors publish, so that their code and transformers' classes read it.

    config.json  model.safetensors (or shards)  tokenizer.model  tokenizer_config.json  special_tokens_map.json
    added_tokens.json  clip/config.json  clip/preprocessor_config.json  clip/model.safetensors

`LlamaForCausalLM.from_pretrained(FOLDER)` reads the language model, `CLIPVisionModel.from_pretrained(FOLDER/clip)` the
vision tower, `AutoTokenizer.from_pretrained(FOLDER, use_fast=False)` the tokenizer, and the authors' `SIDAForCausalLM`
the whole (the first three tried with transformers 4.31). Our models do not keep what SIDA never uses: SAM's encoder of
points and masks, and CLIP's layers behind the one that is read. These come from `unread`, or are zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.core.io import write_json
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.sida.checkpoint import MODEL_TYPE, SHARD
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.merging import clean
from pixelsleuth.models.sida.processing import SidaProcessor, preparation
from pixelsleuth.models.sida.published import SAM, UNUSED, published_name
from pixelsleuth.models.sida.tokenizer import LegacyTokenizer
from pixelsleuth.models.weights import Shards, read_json

LANGUAGE = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "rms_norm_eps", "max_position_embeddings", "hidden_act", "vocab_size", "initializer_range",
)  # fmt: skip
PROMPTS = f"{SAM}prompt_encoder."
BEHIND = re.compile(r"vision_model\.(?:encoder\.layers\.(\d+)|(post_layernorm))\.")
MODEL_MAX_LENGTH = 1024


def save_published(
    model: LargeSida, processor: SidaProcessor, folder: Path, unread: Mapping[str, Tensor] | None = None
) -> None:
    """Write everything that a download of the authors' checkpoint holds; `unread` is what `unread_of` returns.

    Raises:
        UsageError: the model is an ablation that the published layout cannot hold.
    """
    from huggingface_hub import save_torch_state_dict

    parts: dict[str, Any] = {"fusion": "attention", "decoder": "query"} | model.config.sida
    if parts["fusion"] != "attention" or parts["decoder"] != "sam":
        raise UsageError(
            "The published layout has fusion by attention and SAM's mask decoder: write this model in our own layout."
        )
    folder.mkdir(parents=True, exist_ok=True)
    decoder: Any = model.sida.decoder
    depth = decoder.decoder.config.iou_head_depth
    weights, clip = {}, {}
    for name, value in model.state_dict().items():
        if name.startswith("clip."):
            clip[f"vision_model.{name.removeprefix('clip.')}"] = value.contiguous()
        else:
            weights[published_name(name, depth)] = value.contiguous()
    dtype = next(model.parameters()).dtype
    kept = unread or {}
    weights |= _filled(_prompt_shapes(model.config.sam["output_channels"]), kept, dtype)
    clip |= _filled(_behind_shapes(model, clip), kept, dtype)
    save_torch_state_dict(weights, folder, max_shard_size=SHARD)
    _write(folder / "config.json", _config(model, processor, dtype))
    save_tokenizer(processor.tokenizer, folder)
    tower = folder / "clip"
    tower.mkdir(exist_ok=True)
    save_torch_state_dict(clip, tower)
    vision = {
        "architectures": ["CLIPVisionModel"],
        "model_type": "clip_vision_model",
        "torch_dtype": _named(dtype),
    }
    _write(tower / "config.json", vision | model.config.clip)
    _write(tower / "preprocessor_config.json", preparation(processor.clip_side))


def save_tokenizer(tokenizer: LegacyTokenizer, folder: Path) -> None:
    """Write the four files that transformers' slow LLaMA tokenizer reads."""
    tokenizer.save(folder)
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    begin, end, unknown = ({"content": token, **flags} for token in ("<s>", "</s>", "<unk>"))
    special = {"bos_token": begin, "eos_token": end, "unk_token": unknown}
    _write(folder / "special_tokens_map.json", special | {"pad_token": "<unk>"})
    typed = {name: {"__type": "AddedToken", **token} for name, token in special.items()}
    settings: dict[str, Any] = {
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "legacy": True,
        "model_max_length": MODEL_MAX_LENGTH, "pad_token": None, "padding_side": "right", "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer", "use_fast": False,
    }  # fmt: skip
    _write(folder / "tokenizer_config.json", typed | settings)


def unread_of(name: str) -> dict[str, Tensor]:
    """The tensors of a published checkpoint (folder or hub id) and its vision tower that SIDA does not read, by name.

    Empty for another layout, and where the files are not at hand.
    """
    try:
        folder = hub.resolve(name)
        config = read_json(folder / "config.json")
        if config.get("model_type") == MODEL_TYPE:
            return {}
        tower = str(config.get("mm_vision_tower") or config.get("vision_tower"))
        weights = Shards(folder).tensors(lambda key: UNUSED.match(clean(key)) is not None)
        unread = {clean(key): value.clone() for key, value in weights}
        behind = Shards(hub.resolve(tower, beside=folder)).tensors(lambda key: BEHIND.match(key) is not None)
        return unread | {key: value.clone() for key, value in behind}
    except UsageError:
        return {}


def _filled(
    shapes: Mapping[str, tuple[int, ...]], kept: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Tensors of these shapes: those in `kept` where they fit, else zeros."""
    return {
        name: kept[name].to(dtype).contiguous()
        if name in kept and tuple(kept[name].shape) == shape
        else torch.zeros(shape, dtype=dtype)
        for name, shape in shapes.items()
    }


def _prompt_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of SAM's prompt encoder for points and masks; `width` is that of its embeddings."""
    shapes: dict[str, tuple[int, ...]] = {f"point_embeddings.{i}.weight": (1, width) for i in range(4)}
    shapes["not_a_point_embed.weight"] = (1, width)
    convolutions = {0: (4, 1, 2, 2), 3: (16, 4, 2, 2), 6: (width, 16, 1, 1)}
    for place, shape in convolutions.items():
        shapes[f"mask_downscaling.{place}.weight"], shapes[f"mask_downscaling.{place}.bias"] = (
            shape,
            shape[:1],
        )
    for place, channels in {1: 4, 4: 16}.items():
        shapes |= {f"mask_downscaling.{place}.{part}": (channels,) for part in ("weight", "bias")}
    return {f"{PROMPTS}{name}": shape for name, shape in shapes.items()}


def _behind_shapes(model: LargeSida, clip: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of CLIP's layers behind the one that is read, each like the first, and of its last norm."""
    first = "vision_model.encoder.layers.0."
    layer = {
        key.removeprefix(first): tuple(value.shape) for key, value in clip.items() if key.startswith(first)
    }
    total = model.config.clip["num_hidden_layers"]
    shapes = {
        f"vision_model.encoder.layers.{i}.{name}": shape
        for i in range(total + 1 + model.config.layer, total)
        for name, shape in layer.items()
    }
    width = (model.config.clip["hidden_size"],)
    return shapes | {f"vision_model.post_layernorm.{part}": width for part in ("weight", "bias")}


def _config(model: LargeSida, processor: SidaProcessor, dtype: torch.dtype) -> dict[str, Any]:
    language = model.sida.language.config
    rope = getattr(language, "rope_parameters", None) or {}
    return {
        "architectures": ["SIDAForCausalLM"], "model_type": "llava", "torch_dtype": _named(dtype), "use_cache": False,
        **{key: getattr(language, key) for key in LANGUAGE},
        "rope_theta": rope.get("rope_theta", 10_000.0), "rope_scaling": None, "pretraining_tp": 1,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "mm_vision_tower": "clip", "vision_tower": "clip", "mm_hidden_size": model.config.clip["hidden_size"],
        "mm_vision_select_layer": model.config.layer, "mm_vision_select_feature": "patch", "use_mm_proj": True,
        "mm_use_im_start_end": processor.marked, "mm_use_im_patch_token": False, "image_aspect_ratio": "square",
        "image_grid_pinpoints": None, "tune_mm_mlp_adapter": False, "freeze_mm_mlp_adapter": True,
        "pretrain_mm_mlp_adapter": None, "out_dim": model.config.sida["out"], "train_mask_decoder": True,
        "vision_hidden_size": 256, "fc_hidden_size": 1408, "llm_input_size": 1024, "transformers_version": "4.31.0",
        "conv_type": model.config.trained.get("template", "llava_v1"),
    }  # fmt: skip


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_json(path, content)
