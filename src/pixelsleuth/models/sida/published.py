"""The published layout: the parameter of ours that each of its keys is, and the model's dimensions.

The release's state dict holds LLaMA under `model.`, SIDA's modules beside it, and segment-anything under
`model.visual_model.`; CLIP is a folder (or a hub id) of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from pixelsleuth.errors import UsageError
from pixelsleuth.models.sida.prompts import MARKS

SAM = "model.visual_model."
DECODER = "sida.decoder.decoder."
IOU = f"{SAM}mask_decoder.iou_prediction_head."
NAMES: tuple[tuple[str, str], ...] = (
    ("model.mm_projector.", "sida.projector."),
    ("model.text_hidden_fcs.0.", "sida.segmentation."),
    ("model.cls_head.0.", "sida.detection."),
    ("model.sida_fc1.", "sida.fusion.project."),
    ("model.attention_layer.", "sida.fusion.attention."),
    (f"{SAM}image_encoder.patch_embed.proj.", "sam.patch_embed.projection."),
    (f"{SAM}image_encoder.blocks.#.norm#.", "sam.layers.#.layer_norm#."),
    (f"{SAM}image_encoder.blocks.", "sam.layers."),
    (f"{SAM}image_encoder.neck.0.", "sam.neck.conv1."),
    (f"{SAM}image_encoder.neck.1.", "sam.neck.layer_norm1."),
    (f"{SAM}image_encoder.neck.2.", "sam.neck.conv2."),
    (f"{SAM}image_encoder.neck.3.", "sam.neck.layer_norm2."),
    (f"{SAM}image_encoder.pos_embed", "sam.pos_embed"),
    (f"{SAM}mask_decoder.transformer.norm_final_attn.", f"{DECODER}transformer.layer_norm_final_attn."),
    (f"{SAM}mask_decoder.transformer.layers.#.norm#.", f"{DECODER}transformer.layers.#.layer_norm#."),
    (f"{SAM}mask_decoder.output_upscaling.0.", f"{DECODER}upscale_conv1."),
    (f"{SAM}mask_decoder.output_upscaling.1.", f"{DECODER}upscale_layer_norm."),
    (f"{SAM}mask_decoder.output_upscaling.3.", f"{DECODER}upscale_conv2."),
    (
        f"{SAM}mask_decoder.output_hypernetworks_mlps.#.layers.0.",
        f"{DECODER}output_hypernetworks_mlps.#.proj_in.",
    ),
    (
        f"{SAM}mask_decoder.output_hypernetworks_mlps.#.layers.1.",
        f"{DECODER}output_hypernetworks_mlps.#.layers.0.",
    ),
    (
        f"{SAM}mask_decoder.output_hypernetworks_mlps.#.layers.2.",
        f"{DECODER}output_hypernetworks_mlps.#.proj_out.",
    ),
    (f"{SAM}mask_decoder.", DECODER),
    (f"{SAM}prompt_encoder.no_mask_embed.", "sida.decoder.no_mask."),
    (
        f"{SAM}prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "sida.decoder.positions.positional_embedding",
    ),
    ("model.vision_tower.vision_tower.vision_model.", "clip."),
    ("lm_head.", "sida.language.lm_head."),
    ("model.", "sida.language.model."),
)
"""Beginnings of names, published and ours; `#` is a number. The first match counts, in both directions."""
UNUSED = re.compile(
    r"model\.visual_model\.(prompt_encoder\.(mask_downscaling|not_a_point_embed|point_embeddings)|pixel_(mean|std))"
    r"|.*rotary_emb\.inv_freq|.*\.position_ids$"
)
"""Parts of segment-anything's prompt encoder for points, boxes and masks, which SIDA never uses."""


def our_name(key: str, iou_depth: int = 3) -> str | None:
    """The name of our parameter for a published key; None where the key is known and not used.

    >>> our_name("model.cls_head.0.3.bias")
    'sida.detection.3.bias'
    >>> our_name("model.visual_model.prompt_encoder.point_embeddings.0.weight") is None
    True
    """
    if UNUSED.match(key):
        return None
    head = re.match(rf"{re.escape(IOU)}layers\.(\d+)\.(.*)", key)
    if head:
        place = int(head[1])
        part = "proj_in" if not place else "proj_out" if place == iou_depth - 1 else f"layers.{place - 1}"
        return f"{DECODER}iou_prediction_head.{part}.{head[2]}"
    return _renamed(key, _TO_OURS)


def published_name(key: str, iou_depth: int = 3) -> str:
    """The published key of a parameter of ours.

    >>> published_name("sida.detection.3.bias")
    'model.cls_head.0.3.bias'
    """
    head = re.match(rf"{re.escape(DECODER)}iou_prediction_head\.(proj_in|proj_out|layers\.(\d+))\.(.*)", key)
    if head:
        place = {"proj_in": 0, "proj_out": iou_depth - 1}.get(head[1])
        return f"{IOU}layers.{int(head[2]) + 1 if place is None else place}.{head[3]}"
    return _renamed(key, _TO_PUBLISHED)


def _compiled(pairs: Iterable[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Patterns and replacements of pairs in which `#` stands for a number, in the same order on both sides."""
    compiled = []
    for old, new in pairs:
        parts = new.split("#")
        replacement = "".join(part + rf"\{i}" for i, part in enumerate(parts[:-1], 1)) + parts[-1]
        compiled.append((re.compile(re.escape(old).replace(r"\#", r"(\d+)")), replacement))
    return compiled


_TO_OURS = _compiled(NAMES)
_TO_PUBLISHED = _compiled((ours, theirs) for theirs, ours in NAMES)


def _renamed(key: str, names: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, replacement in names:
        match = pattern.match(key)
        if match:
            return match.expand(replacement) + key[match.end() :]
    return key


def clip_name(key: str) -> str | None:
    """Our name for a key of CLIP's own checkpoint; None for its text tower and projections."""
    key = key.removeprefix("vision_model.")
    if key.startswith(
        ("text_model.", "logit_scale", "text_projection", "visual_projection", "post_layernorm")
    ):
        return None
    return None if key.endswith("position_ids") else f"clip.{key}"


def marks_picture(config: Mapping[str, Any], added: Container[str]) -> bool:
    """True where the prompt has `<im_start>` and `<im_end>` around the picture.

    `config.json` states it; where it does not, the tokenizer's `added` tokens decide.

    Raises:
        UsageError: the stated value is neither true nor false.

    >>> marks_picture({"mm_use_im_start_end": False}, ["<im_start>", "<im_end>"])
    False
    """
    stated = config.get("mm_use_im_start_end")
    if stated is None:
        return any(mark in added for mark in MARKS)
    if not isinstance(stated, bool):
        raise UsageError(
            f"config.json says mm_use_im_start_end: {stated!r}; write true or false, as the checkpoint was trained."
        )
    return stated


def ensure_as_trained(config: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose `config.json` asks for a computation that this model does not have.

    Raises:
        UsageError: the setting, by name.
    """
    supported: dict[str, tuple[Any, ...]] = {
        "mm_vision_select_feature": (None, "patch"),
        "mm_projector_type": (None, "linear"),
        "rope_scaling": (None,),
        "attention_bias": (None, False),
    }
    for name, values in supported.items():
        if config.get(name) not in values:
            raise UsageError(
                f"config.json says {name}: {config[name]!r}, and SIDA has only {values[-1]!r}: this checkpoint is of "
                "another kind."
            )


def dimensions(
    config: Mapping[str, Any],
    shape: Callable[[str], tuple[int, ...]],
    keys: Iterable[str],
    *,
    detection: bool = True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of SidaConfig and of SamVisionConfig, inferred from the shapes of the weights.

    Args:
        config: the checkpoint's `config.json`.
        shape: returns the shape of a key's tensor.
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

    sam = _image_encoder(size, names)
    places = sam["image_size"] // sam["patch_size"]
    mask = {"side": places, "image": sam["image_size"], "decoder": _mask_decoder(size, names)}
    vocabulary, hidden = size("model.embed_tokens.weight")
    sida: dict[str, Any] = {
        "token": size("model.mm_projector.weight")[1],
        "out": size("model.text_hidden_fcs.0.2.weight")[0],
        "decoder": "sam",
        "mask": mask,
        "language": _language(config, vocabulary, hidden),
    }
    if detection:
        sida["det_projection"] = "logits" if size("model.sida_fc1.weight")[1] == 3 else "hidden"
    else:
        sida |= {"detection": False, "fusion": "none"}
    return sida, sam


def _image_encoder(size: Callable[[str], tuple[int, ...]], names: set[str]) -> dict[str, Any]:
    """SamVisionConfig's values. The tables of relative positions tell windowed attention from global."""
    blocks = f"{SAM}image_encoder.blocks."
    depth = _count(names, rf"{re.escape(blocks)}(\d+)\.")
    width, _, patch, _ = size(f"{SAM}image_encoder.patch_embed.proj.weight")
    places = size(f"{SAM}image_encoder.pos_embed")[1]
    lengths = [size(f"{blocks}{i}.attn.rel_pos_h")[0] for i in range(depth)]
    across = [i for i, length in enumerate(lengths) if length == 2 * places - 1]
    windows = sorted({(length + 1) // 2 for i, length in enumerate(lengths) if i not in across})
    if len(windows) > 1:
        raise UsageError(f"SAM's image encoder has windows of several sizes ({windows}): it cannot be built.")
    head = size(f"{blocks}0.attn.rel_pos_h")[1]
    out = size(f"{SAM}image_encoder.neck.0.weight")[0]
    return {
        "hidden_size": width, "output_channels": out, "num_hidden_layers": depth, "num_attention_heads": width // head,
        "image_size": places * patch, "patch_size": patch, "mlp_dim": size(f"{blocks}0.mlp.lin1.weight")[0],
        "window_size": windows[0] if windows else 0, "global_attn_indexes": across, "num_pos_feats": out // 2,
    }  # fmt: skip


def _mask_decoder(size: Callable[[str], tuple[int, ...]], names: set[str]) -> dict[str, Any]:
    """SamMaskDecoderConfig's values."""
    decoder = f"{SAM}mask_decoder."
    return {
        "hidden_size": size(f"{SAM}image_encoder.neck.0.weight")[0],
        "mlp_dim": size(f"{decoder}transformer.layers.0.mlp.lin1.weight")[0],
        "num_hidden_layers": _count(names, rf"{re.escape(decoder)}transformer\.layers\.(\d+)\."),
        "num_multimask_outputs": size(f"{decoder}mask_tokens.weight")[0] - 1,
        "iou_head_depth": _count(names, rf"{re.escape(decoder)}iou_prediction_head\.layers\.(\d+)\."),
        "iou_head_hidden_dim": size(f"{decoder}iou_prediction_head.layers.0.weight")[0],
    }


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
    numbers = [int(match[1]) for name in names if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1
