"""The large SIDA: CLIP, SAM's image encoder and SAM's mask decoder around the same `Sida` as in the compact model.

CLIP is built without the layers behind the one that is read (the release reads the last but one). SAM's image encoder
runs for tampered pictures alone. `calls` counts the pictures that each has encoded.
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
    """What else the checkpoint states of its training, such as its conversation template."""

    @property
    def picture_tokens(self) -> int:
        """Tokens that a picture takes in the language model."""
        return (self.clip["image_size"] // self.clip["patch_size"]) ** 2


class LargeSida(nn.Module):
    """(B, 3, 224, 224) CLIP pixels and (B, 3, 1024, 1024) SAM pixels, both normalised, around `sida`."""

    def __init__(self, config: LargeConfig) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel, SamVisionConfig
        from transformers.models.sam.modeling_sam import SamVisionEncoder

        from pixelsleuth.models.sam_encoder import hasten

        super().__init__()
        self.config = config
        layers = config.clip["num_hidden_layers"] + 1 + config.layer
        vision = CLIPVisionConfig(**config.clip | {"num_hidden_layers": layers})
        vision._attn_implementation = "sdpa"
        self.clip = CLIPVisionModel(vision)
        self.clip.post_layernorm = nn.Identity()  # its pooled output is not read
        sam = SamVisionConfig(**config.sam)
        sam._attn_implementation = "sdpa"
        self.sam = hasten(SamVisionEncoder(sam))
        self.sida = Sida(SidaConfig(**config.sida))
        self.calls: Counter[str] = Counter()

    def tokens(self, pixels: Tensor) -> Tensor:
        """CLIP pixels (B, 3, side, side) -> projected picture tokens (B, N, hidden)."""
        self.calls["clip"] += len(pixels)
        states = self.clip(pixel_values=pixels).last_hidden_state
        return self.sida.projector(states[:, 1:])

    def dense(self, pixels: Tensor) -> Tensor:
        """SAM pixels (B, 3, side, side) -> embeddings (B, out, side / 16, side / 16).

        A CPU encodes one picture at a time: attention over 4,096 places of several does not fit its caches.
        """
        self.calls["sam"] += len(pixels)
        parts = pixels.split(len(pixels) if pixels.is_cuda else 1)
        return torch.cat([self.sam(pixel_values=part).last_hidden_state for part in parts])


def spread(model: nn.Module) -> None:
    """Draw a random model's weights anew, with deviation fan_in ** -0.5, for activations of ordinary size.

    The deviation of large models, 0.02, leaves a narrow model without a signal. SAM's encoder, whose position tables
    transformers leaves at zero, would compute with subnormal numbers, which takes a CPU ten times as long.
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
