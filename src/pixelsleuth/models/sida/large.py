"""The large SIDA: CLIP's tokens, SAM's image encoder and mask decoder around the same `Sida` as the compact model's.

CLIP is built without the layers behind the one that is read (the release reads the last but one), and SAM's image
encoder is asked for tampered pictures alone; `calls` counts both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pixelsleuth.models.sida_core import Sida, SidaConfig


@dataclass(frozen=True)
class LargeConfig:
    """`sida` as SidaConfig, `clip` and `sam` as transformers' CLIPVisionConfig and SamVisionConfig (plain values)."""

    sida: dict[str, Any]
    clip: dict[str, Any]
    sam: dict[str, Any]
    layer: int = -2
    """The hidden state of CLIP that is read, counted from the last."""
    trained: dict[str, Any] = field(default_factory=dict)
    """What else the checkpoint says of itself: where it came from, its context length."""

    @property
    def picture_tokens(self) -> int:
        """Tokens that a picture takes in the language model."""
        return (self.clip["image_size"] // self.clip["patch_size"]) ** 2


class LargeSida(nn.Module):
    """(B, 3, 224, 224) CLIP pixels and (B, 3, 1024, 1024) SAM pixels, both normalised, around `sida`."""

    def __init__(self, config: LargeConfig) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel, SamVisionConfig
        from transformers.models.sam.modeling_sam import SamVisionEncoder

        super().__init__()
        self.config = config
        layers = config.clip["num_hidden_layers"] + 1 + config.layer
        vision = CLIPVisionConfig(**config.clip | {"num_hidden_layers": layers})
        vision._attn_implementation = "sdpa"
        self.clip = CLIPVisionModel(vision)
        self.clip.post_layernorm = nn.Identity()  # its pooled output is not read
        eyes = SamVisionConfig(**config.sam)
        eyes._attn_implementation = "sdpa"
        self.sam = SamVisionEncoder(eyes)
        self.sida = Sida(SidaConfig(**config.sida))
        self.calls: Counter[str] = Counter()

    def tokens(self, pixels: Tensor) -> Tensor:
        """CLIP pixels (B, 3, side, side) -> projected picture tokens (B, N, hidden)."""
        self.calls["clip"] += len(pixels)
        states = self.clip(pixel_values=pixels).last_hidden_state
        return self.sida.projector(states[:, 1:])

    def dense(self, pixels: Tensor) -> Tensor:
        """SAM pixels (B, 3, side, side) -> embeddings (B, out, side / 16, side / 16).

        A processor looks at one picture after the other: attention over 4,096 places does not fit its caches for more.
        """
        self.calls["sam"] += len(pixels)
        parts = pixels.split(len(pixels) if pixels.is_cuda else 1)
        return torch.cat([self.sam(pixel_values=part).last_hidden_state for part in parts])


def spread(model: LargeSida) -> None:
    """Draw weights anew, as wide as layers are narrow, for random models with activations of ordinary size.

    The 0.02 of large models leaves a narrow one without a signal, and SAM's encoder, whose tables transformers leaves
    at zero, with numbers so small that processors compute them ten times slower.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            fan_in = (
                module.weight[0].numel() if not isinstance(module, nn.ConvTranspose2d) else module.in_channels
            )
            nn.init.normal_(module.weight, std=fan_in**-0.5)
    for name, table in model.named_parameters():
        if "pos_embed" in name or "rel_pos" in name:  # transformers leaves these at zero
            nn.init.normal_(table, std=0.02)
