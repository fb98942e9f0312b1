"""Write SIDA in the layout that its authors publish, so that their code and transformers' classes read it.

`LlamaForCausalLM.from_pretrained(FOLDER)` takes the language model, `CLIPVisionModel.from_pretrained(FOLDER/clip)` the
vision tower, and the authors' `SIDAForCausalLM` the whole. Of SAM's prompt encoder only what SIDA uses is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pixelsleuth.core.errors import UsageError
from pixelsleuth.models.sida.large import LargeSida
from pixelsleuth.models.sida.processing import SidaProcessor
from pixelsleuth.models.sida.published import published_name

SHARD = "5GB"
LANGUAGE = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "rms_norm_eps", "max_position_embeddings", "hidden_act", "vocab_size", "initializer_range",
)  # fmt: skip


def save_published(model: LargeSida, processor: SidaProcessor, folder: Path) -> None:
    """Write `config.json`, safetensors, tokenizer files, and CLIP in a folder of its own.

    Raises:
        UsageError: an ablation, for which the published layout has no place.
    """
    from huggingface_hub import save_torch_state_dict

    now: dict[str, Any] = {"fusion": "attention", "decoder": "query"} | model.config.sida
    if now["fusion"] != "attention" or now["decoder"] != "sam":
        raise UsageError(
            "The published layout has a fusion by attention and SAM's mask decoder: write this model in our own layout."
        )
    folder.mkdir(parents=True, exist_ok=True)
    decoder: Any = model.sida.decoder
    depth = decoder.decoder.config.iou_head_depth
    weights, clip = {}, {}
    for name, value in model.state_dict().items():
        if name.startswith("clip."):
            clip[name.removeprefix("clip.")] = value.contiguous()
        else:
            weights[published_name(name, depth)] = value.contiguous()
    save_torch_state_dict(weights, folder, max_shard_size=SHARD)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(_config(model, dtype), indent=1) + "\n")
    processor.tokenizer.save(folder)
    tower = folder / "clip"
    tower.mkdir(exist_ok=True)
    save_torch_state_dict(clip, tower)
    layers = model.clip.config.num_hidden_layers
    vision = {**model.config.clip, "num_hidden_layers": layers, "model_type": "clip_vision_model"}
    (tower / "config.json").write_text(
        json.dumps({"architectures": ["CLIPVisionModel"], "torch_dtype": dtype, **vision}, indent=1) + "\n"
    )


def _config(model: LargeSida, dtype: str) -> dict[str, Any]:
    language = model.sida.language.config
    rope = getattr(language, "rope_parameters", None) or {}
    return {
        "architectures": ["SIDAForCausalLM"], "model_type": "llava", "torch_dtype": dtype, "use_cache": False,
        **{key: getattr(language, key) for key in LANGUAGE},
        "rope_theta": rope.get("rope_theta", 10_000.0), "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "mm_vision_tower": "clip", "vision_tower": "clip", "mm_hidden_size": model.config.clip["hidden_size"],
        # layers behind the one that is read are not kept, so that it is the last
        "mm_vision_select_layer": -1, "mm_vision_select_feature": "patch", "use_mm_proj": True,
        "mm_use_im_start_end": True, "mm_use_im_patch_token": False, "image_aspect_ratio": "square",
        "out_dim": model.config.sida["out"], "train_mask_decoder": True,
        "conv_type": model.config.trained.get("template", "llava_v1"),
    }  # fmt: skip
