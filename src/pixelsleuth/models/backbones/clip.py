"""CLIP's frozen image encoder, from a folder of transformers or from a checkpoint with OpenAI's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.models.baseline import renamed

HEAD = 64
"""Width of an attention head: OpenAI's state dict does not hold the number of heads."""
PATTERNS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.": "vision_model.embeddings.patch_embedding.",
    "visual.ln_pre.": "vision_model.pre_layrnorm.",
    "visual.ln_post.": "vision_model.post_layernorm.",
}
INSIDE = {
    "attn.out_proj.": "self_attn.out_proj.",
    "ln_1.": "layer_norm1.",
    "ln_2.": "layer_norm2.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
}


def from_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's tensors `visual.*` under the names of transformers' CLIPVisionModelWithProjection; other keys stay."""
    renamed_state: dict[str, Tensor] = {}
    for key, value in state.items():
        block = re.match(r"visual\.transformer\.resblocks\.(\d+)\.(.*)", key)
        if key == "visual.proj":
            renamed_state["visual_projection.weight"] = value.T.contiguous()
        elif block and block[2].startswith("attn.in_proj_"):
            kind = block[2].removeprefix("attn.in_proj_")
            for name, part in zip("qkv", value.chunk(3), strict=True):
                layer = f"vision_model.encoder.layers.{block[1]}.self_attn"
                renamed_state[f"{layer}.{name}_proj.{kind}"] = part.contiguous()
        elif block:
            renamed_state[f"vision_model.encoder.layers.{block[1]}.{renamed(block[2], INSIDE)}"] = value
        else:
            renamed_state[renamed(key, PATTERNS)] = value
    return renamed_state


def encoder_of(state: Mapping[str, Tensor]) -> Any:
    """An encoder with the dimensions of the tensors `visual.*`; their values are not loaded."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    width, _, patch, _ = state["visual.conv1.weight"].shape
    places = state["visual.positional_embedding"].shape[0] - 1
    blocks = {key.split(".")[3] for key in state if key.startswith("visual.transformer.resblocks.")}
    config = CLIPVisionConfig(
        hidden_size=width, intermediate_size=state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_hidden_layers=len(blocks), num_attention_heads=width // HEAD, patch_size=patch,
        image_size=patch * round(places**0.5), projection_dim=state["visual.proj"].shape[1], hidden_act="quick_gelu",
    )  # fmt: skip
    return CLIPVisionModelWithProjection(config).eval().requires_grad_(False)


def load_encoder(name: str) -> Any:
    """The encoder of a CLIP folder or hub id.

    Raises:
        UsageError: no such folder or repository, or not CLIP.
    """
    from transformers import CLIPVisionModelWithProjection

    from pixelsleuth.models.pretrained import load_pretrained

    classes = dict.fromkeys(("clip", "clip_vision_model"), CLIPVisionModelWithProjection)
    return load_pretrained(name, classes, "CLIP", torch.float32).requires_grad_(False)
