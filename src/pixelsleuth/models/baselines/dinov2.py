"""Frozen DINOv2 with two small heads: a simple detector of 2026 (arXiv 2609.02640).

    pixelsleuth check picture.jpg --model dinov2 --weights heads.safetensors --option encoder=FOLDER

The encoder is any DINOv2 of transformers, by folder or hub id. Tokens of every block pass its final norm, as in
DINOv2's own intermediate layers; the paper leaves that open.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.heads import Encoded, FrozenHeads
from pixelsleuth.models.facts import Facts


class Dinov2(FrozenHeads):
    """Class tokens of all blocks, patch tokens of four. Further option: `encoder`, a folder or a hub id."""

    facts = Facts(
        name="dinov2",
        title="DINOv2, frozen, with two heads",
        paper="arXiv 2609.02640, 2026",
        source="the paper's description",
        licence="your own training; the encoder is Apache-2.0",
        where="train it (recipes/baselines); the encoder is facebook/dinov2-base on the hub",
        files=("heads.safetensors",),
        made_for=Label.TAMPERED,
        options={
            "encoder": ("facebook/dinov2-base", "FOLDER"),
            "frame": ("crop", "resize"),
            "probe": ("mlp", "linear"),
        },
        parameters=90_682_340,
        localizes=True,
        known_by="decoder.lateral.0.weight",
    )

    def __init__(self, encoder: Any = None, **options: str) -> None:
        """`encoder` may also be a Dinov2Model itself."""
        if isinstance(encoder, str):
            options["encoder"] = encoder
        named = encoder is None or isinstance(encoder, str)
        made = load_encoder(self.facts.variant(options)["encoder"]) if named else encoder
        config = made.config
        tokens = (config.num_hidden_layers, config.hidden_size)
        super().__init__(
            made, side=int(config.image_size), tokens=tokens, maps=[config.hidden_size] * 4, **options
        )
        self.blocks = [round(config.num_hidden_layers * part / 4) for part in (1, 2, 3, 4)]

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Encoded:
        """(B, 3, side, side) -> tokens of all blocks; without gradients, so that they may be cached."""
        states = self.encoder(pixel_values=pixels, output_hidden_states=True).hidden_states
        grid = pixels.shape[-1] // self.encoder.config.patch_size
        tokens = torch.stack([self.encoder.layernorm(state[:, 0]) for state in states[1:]], dim=1)
        maps = [self.encoder.layernorm(states[block][:, 1:]) for block in self.blocks]
        return Encoded(tokens, [tokens.transpose(1, 2).unflatten(-1, (grid, grid)) for tokens in maps])


def load_encoder(name: str) -> Any:
    """transformers' Dinov2Model of a folder or a hub id.

    Raises:
        UsageError: no such folder or repository, or not DINOv2.
    """
    from transformers import Dinov2Model

    from pixelsleuth.models.pretrained import load_pretrained

    return load_pretrained(name, {"dinov2": Dinov2Model}, "DINOv2", torch.float32)
