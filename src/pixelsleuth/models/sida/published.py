"""The published layout: which of our parameters each of its keys is, and what its dimensions are.

The release's state dict holds LLaMA under `model.`, SIDA's modules beside it, and segment-anything under
`model.visual_model.`; CLIP is a folder (or a hub id) of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pixelsleuth.core.errors import UsageError

SAM = "model.visual_model."
RENAMES: tuple[tuple[str, str], ...] = (
    (r"model\.mm_projector\.", "sida.projector."),
    (r"model\.text_hidden_fcs\.0\.", "sida.segmentation."),
    (r"model\.cls_head\.0\.", "sida.detection."),
    (r"model\.sida_fc1\.", "sida.fusion.project."),
    (r"model\.attention_layer\.", "sida.fusion.attention."),
    (r"model\.visual_model\.image_encoder\.patch_embed\.proj\.", "sam.patch_embed.projection."),
    (r"model\.visual_model\.image_encoder\.blocks\.(\d+)\.norm([12])\.", r"sam.layers.\1.layer_norm\2."),
    (r"model\.visual_model\.image_encoder\.blocks\.", "sam.layers."),
    (r"model\.visual_model\.image_encoder\.neck\.0\.", "sam.neck.conv1."),
    (r"model\.visual_model\.image_encoder\.neck\.1\.", "sam.neck.layer_norm1."),
    (r"model\.visual_model\.image_encoder\.neck\.2\.", "sam.neck.conv2."),
    (r"model\.visual_model\.image_encoder\.neck\.3\.", "sam.neck.layer_norm2."),
    (r"model\.visual_model\.image_encoder\.pos_embed", "sam.pos_embed"),
    (
        r"model\.visual_model\.mask_decoder\.transformer\.norm_final_attn\.",
        "sida.decoder.decoder.transformer.layer_norm_final_attn.",
    ),
    (
        r"model\.visual_model\.mask_decoder\.transformer\.layers\.(\d+)\.norm([1-4])\.",
        r"sida.decoder.decoder.transformer.layers.\1.layer_norm\2.",
    ),
    (r"model\.visual_model\.mask_decoder\.output_upscaling\.0\.", "sida.decoder.decoder.upscale_conv1."),
    (r"model\.visual_model\.mask_decoder\.output_upscaling\.1\.", "sida.decoder.decoder.upscale_layer_norm."),
    (r"model\.visual_model\.mask_decoder\.output_upscaling\.3\.", "sida.decoder.decoder.upscale_conv2."),
    (
        r"model\.visual_model\.mask_decoder\.(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.",
        r"sida.decoder.decoder.\1.proj_in.",
    ),
    (
        r"model\.visual_model\.mask_decoder\.(output_hypernetworks_mlps\.\d+)\.layers\.2\.",
        r"sida.decoder.decoder.\1.proj_out.",
    ),
    (
        r"model\.visual_model\.mask_decoder\.(output_hypernetworks_mlps\.\d+)\.layers\.1\.",
        r"sida.decoder.decoder.\1.layers.0.",
    ),
    (r"model\.visual_model\.mask_decoder\.", "sida.decoder.decoder."),
    (r"model\.visual_model\.prompt_encoder\.no_mask_embed\.", "sida.decoder.no_mask."),
    (
        r"model\.visual_model\.prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix",
        "sida.decoder.positions.positional_embedding",
    ),
    (r"model\.vision_tower\.vision_tower\.vision_model\.", "clip."),
    (r"lm_head\.", "sida.language.lm_head."),
    (r"model\.", "sida.language.model."),
)  # fmt: skip
UNUSED = re.compile(
    r"model\.visual_model\.(prompt_encoder\.(mask_downscaling|not_a_point_embed|point_embeddings)|pixel_(mean|std))"
    r"|.*rotary_emb\.inv_freq|.*\.position_ids$"
)
"""Parts of segment-anything's prompt encoder that answer to points, boxes and masks, which SIDA never gives."""


def our_name(key: str, iou_depth: int = 3) -> str | None:
    """Our parameter's name for a key of the published layout; None where the key is known and not used.

    >>> our_name("model.cls_head.0.3.bias")
    'sida.detection.3.bias'
    >>> our_name("model.visual_model.prompt_encoder.point_embeddings.0.weight") is None
    True
    """
    if UNUSED.match(key):
        return None
    head = re.match(r"model\.visual_model\.mask_decoder\.iou_prediction_head\.layers\.(\d+)\.(.*)", key)
    if head and int(head[1]) > 0:
        place = int(head[1])
        part = "proj_out" if place == iou_depth - 1 else f"layers.{place - 1}"
        return f"sida.decoder.decoder.iou_prediction_head.{part}.{head[2]}"
    for pattern, replacement in RENAMES:
        new, found = re.subn(f"^{pattern}", replacement, key)
        if found:
            return new
    return key


def clip_name(key: str) -> str | None:
    """Our name for a key of CLIP's own checkpoint; None for its text tower and projections."""
    key = key.removeprefix("vision_model.")
    if key.startswith(
        ("text_model.", "logit_scale", "text_projection", "visual_projection", "post_layernorm")
    ):
        return None
    return None if key.endswith("position_ids") else f"clip.{key}"


def dimensions(
    config: Mapping[str, Any],
    shape: Callable[[str], tuple[int, ...]],
    keys: Iterable[str],
    *,
    detection: bool = True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the weights say of themselves: SidaConfig's and SamVisionConfig's values.

    Args:
        config: the checkpoint's `config.json`.
        shape: gives the shape of a key's tensor.
        keys: all keys of the checkpoint.
        detection: False for LISA's, which have no class head and no fusion.

    Raises:
        UsageError: a tensor that decides a dimension is missing.
    """
    names = set(keys)

    def size(key: str) -> tuple[int, ...]:
        if key not in names:
            raise UsageError(f"The checkpoint lacks {key}, so it is not SIDA's or not whole.")
        return shape(key)

    blocks = f"{SAM}image_encoder.blocks."
    depth = _count(names, rf"{re.escape(blocks)}(\d+)\.")
    width, _, patch, _ = size(f"{SAM}image_encoder.patch_embed.proj.weight")
    places = size(f"{SAM}image_encoder.pos_embed")[1]
    reach = [size(f"{blocks}{i}.attn.rel_pos_h")[0] for i in range(depth)]
    across = [i for i, length in enumerate(reach) if length == 2 * places - 1]
    windows = sorted({(length + 1) // 2 for i, length in enumerate(reach) if i not in across})
    if len(windows) > 1:
        raise UsageError(f"SAM's image encoder has windows of several sizes ({windows}): it cannot be built.")
    head = size(f"{blocks}0.attn.rel_pos_h")[1]
    out = size(f"{SAM}image_encoder.neck.0.weight")[0]
    sam = {
        "hidden_size": width, "output_channels": out, "num_hidden_layers": depth, "num_attention_heads": width // head,
        "image_size": places * patch, "patch_size": patch, "mlp_dim": size(f"{blocks}0.mlp.lin1.weight")[0],
        "window_size": windows[0] if windows else 0, "global_attn_indexes": across, "num_pos_feats": out // 2,
    }  # fmt: skip
    decoder = f"{SAM}mask_decoder."
    mask = {
        "hidden_size": out, "mlp_dim": size(f"{decoder}transformer.layers.0.mlp.lin1.weight")[0],
        "num_hidden_layers": _count(names, rf"{re.escape(decoder)}transformer\.layers\.(\d+)\."),
        "num_multimask_outputs": size(f"{decoder}mask_tokens.weight")[0] - 1,
        "iou_head_depth": _count(names, rf"{re.escape(decoder)}iou_prediction_head\.layers\.(\d+)\."),
        "iou_head_hidden_dim": size(f"{decoder}iou_prediction_head.layers.0.weight")[0],
    }  # fmt: skip
    hidden = size("model.embed_tokens.weight")[1]
    sida: dict[str, Any] = {
        "token": size("model.mm_projector.weight")[1],
        "out": size("model.text_hidden_fcs.0.2.weight")[0],
        "decoder": "sam",
        "mask": {"side": places, "image": places * patch, "decoder": mask},
        "language": _language(config, size("model.embed_tokens.weight")[0], hidden),
    }
    if detection:
        sida["det_projection"] = "logits" if size("model.sida_fc1.weight")[1] == 3 else "hidden"
    else:
        sida |= {"detection": False, "fusion": "none"}
    return sida, sam


def _language(config: Mapping[str, Any], vocabulary: int, hidden: int) -> dict[str, Any]:
    """LlamaConfig's values; the vocabulary is as long as the embedding, which added tokens made longer."""
    try:
        kept = {key: config[key] for key in ("intermediate_size", "num_hidden_layers", "num_attention_heads")}
    except KeyError as error:
        raise UsageError(f"config.json lacks {error}, so it is not SIDA's.") from None
    optional = ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "hidden_act")
    kept |= {key: config[key] for key in optional if config.get(key) is not None}
    return kept | {
        "vocab_size": vocabulary, "hidden_size": hidden, "attn_implementation": "sdpa", "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None,
    }  # fmt: skip


def _count(names: Iterable[str], pattern: str) -> int:
    found = [int(match[1]) for name in names if (match := re.match(pattern, name))]
    return max(found, default=-1) + 1
