"""DDA (Chen et al., NeurIPS 2025): DINOv2 with LoRA, trained on photographs and their own reconstructions.

    pixelsleuth models get dda
    pixelsleuth check picture.jpg --model dda

The published file holds DINOv2 itself, LoRA beside each of its layers (rank 8, alpha 1) and a head on the class token.
LoRA is folded into the layers when the file is read. The picture is cropped to its middle, not resized.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.baseline import Baseline, Output, by_shape, renamed
from pixelsleuth.models.facts import Facts, Origin, Remote
from pixelsleuth.models.inputs import CLIP, CLIP_MEAN, CLIP_STD, jpeg, normalised, random_crop, unit
from pixelsleuth.models.lora import add_lora, fold
from pixelsleuth.models.preparation import Steps

SIZES = {"vitl14": (1024, 24, 16), "vitb14": (768, 12, 12), "vits14": (384, 12, 6)}
"""DINOv2's width, blocks and heads."""
SIDES = {"official_crop336": 336, "first_crop224": 224}
PATCH = 14
ALPHA = 1.0
LORA = {
    "rank": 8,
    "alpha": ALPHA,
    "dropout": 0.0,
    "targets": ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"),
}
OFFSET = 0.1
"""DINOv2 adds this to the number of patches before it stretches the position embeddings: they shift a little."""
OUTSIDE = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    "norm.": "layernorm.",
}
INSIDE = {
    "attn.proj.": "attention.o_proj.",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}


class Dda(Baseline):
    """One logit of DINOv2's class token. Options: `input`, the side of the crop; `backbone`, DINOv2's size."""

    facts = Facts(
        name="dda",
        title="DDA",
        paper="Chen, Xi, Yan, Zhang, Wu and others: Dual data alignment, NeurIPS 2025",
        source="roy-ch/Dual-Data-Alignment@80f2789",
        licence="Apache-2.0",
        where="on the hub as Junwei-Xi/Dual-Data-Alignment",
        files=("DDA_ckpt.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={"input": ("official_crop336", "first_crop224"), "backbone": ("vitl14", "vitb14", "vits14")},
        parameters=303_557_633,
        known_by="base_model.model.blocks.0.attn.qkv.lora.lora_A",
        published="its authors: mean accuracy 0.907 over eleven sets",
        origins=(
            Origin(
                "Junwei-Xi/Dual-Data-Alignment",
                "4390d9023899196b437480bb6a441915ef5d816c",
                (
                    Remote(
                        "DDA_ckpt.pth",
                        "b27a31d39374803ddeff02bfabb2be76e190b04300490cddfafb24f683f37e3e",
                        1_255_621_296,
                    ),
                ),
            ),
        ),
    )

    def __init__(self, **options: str) -> None:
        from transformers import Dinov2Config, Dinov2Model

        super().__init__(**options)
        width, blocks, heads = SIZES[self.options["backbone"]]
        self.side = SIDES[self.options["input"]]
        config = Dinov2Config(
            hidden_size=width, num_hidden_layers=blocks, num_attention_heads=heads, mlp_ratio=4,
            image_size=self.side, patch_size=PATCH, hidden_act="gelu", layer_norm_eps=1e-6, layerscale_value=1.0,
        )  # fmt: skip
        self.dinov2 = Dinov2Model(config)
        self.fc = nn.Linear(width, 1)

    @classmethod
    def fresh(cls, **options: str) -> Self:
        """Refused: DDA starts from DINOv2's weights, which its published file holds."""
        raise UsageError("DDA is trained on from its own weights: set start to DDA_ckpt.pth.")

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """DINOv2's names as transformers': LoRA folded in; query, key, value split; positions for the crop's size."""
        plain = folded({key.removeprefix("base_model."): value for key, value in state.items()})
        renamed_state: dict[str, Tensor] = {}
        for key, value in plain.items():
            name = key.removeprefix("model.")
            block = re.fullmatch(r"blocks\.(\d+)\.(.*)", name)
            if name.startswith("fc."):
                renamed_state[name] = value
            elif block and block[2].startswith("attn.qkv."):
                kind = block[2].removeprefix("attn.qkv.")
                for letter, part in zip("qkv", value.chunk(3), strict=True):
                    renamed_state[f"dinov2.encoder.layer.{block[1]}.attention.{letter}_proj.{kind}"] = (
                        part.contiguous()
                    )
            elif block:
                renamed_state[f"dinov2.encoder.layer.{block[1]}.{renamed(block[2], INSIDE)}"] = value
            else:
                renamed_state[f"dinov2.{renamed(name, OUTSIDE)}"] = value
        positions = renamed_state.get("dinov2.embeddings.position_embeddings")
        if positions is not None:
            renamed_state["dinov2.embeddings.position_embeddings"] = stretched(positions, self.side // PATCH)
        return renamed_state

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, side, side): the middle at its own resolution, black around a smaller picture."""
        return [["crop", self.side], CLIP]

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, side, side) -> class tokens (B, width) behind the final norm."""
        token: Tensor = self.dinov2(pixel_values=x).last_hidden_state[:, 0]
        return token

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, lambda x: Output(self.fc(self.features(x))[:, 0]))

    def begin_training(self) -> None:
        """Train LoRA and the head. The authors have one LoRA for query, key and value; here each has its own."""
        add_lora(self.dinov2, **LORA, seed=1)  # type: ignore[arg-type]

    def store(self, folder: Path) -> None:
        """Write the weights, LoRA folded in."""
        fold(self, self.dinov2)
        super().store(folder)

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """Of the authors' augmentation: JPEG of 55 to 100 in 15 % of all cases, a random crop, mirrored in half. Their
        data matter more: each fake is its photograph through a VAE, with the photograph's JPEG quality."""
        if random.random() < 0.15:
            pixels = jpeg(pixels, int(random.integers(55, 101)))
        return normalised(unit(random_crop(pixels, self.side, random)), CLIP_MEAN, CLIP_STD)

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """Half cross entropy of the logit, half contrast of the class tokens."""
        del masks
        token = self.features(torch.stack(list(inputs)))
        bce = F.binary_cross_entropy_with_logits(self.fc(token)[:, 0], labels.to(token.dtype))
        contrast = contrastive(token, labels)
        return {"bce": bce, "contrast": contrast, "loss": 0.5 * bce + 0.5 * contrast}


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Layers with LoRA (`X.original_layer.weight`, `X.lora.lora_A` (r, in), `X.lora.lora_B` (out, r)) as plain ones:
    W + B A alpha / r. An incomplete LoRA stays as it is, and loading reports its keys as unexpected."""
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        layer, mark, kind = key.partition(".original_layer.")
        down, up = state.get(f"{layer}.lora.lora_A"), state.get(f"{layer}.lora.lora_B")
        whole = down is not None and up is not None and down.dim() == up.dim() == 2
        if mark and kind == "weight" and down is not None and up is not None and whole:
            fits = (len(up), up.shape[1], down.shape[1]) == (len(value), len(down), value.shape[-1])
            plain[f"{layer}.{kind}"] = value + up @ down * (ALPHA / len(down)) if fits else value
        elif mark:
            plain[f"{layer}.{kind}"] = value
        elif not (key.endswith((".lora.lora_A", ".lora.lora_B")) and _has_layer(state, key)):
            plain[key] = value
    return plain


def _has_layer(state: dict[str, Tensor], key: str) -> bool:
    layer = key.rpartition(".lora.")[0]
    return all(f"{layer}.{part}" in state for part in ("original_layer.weight", "lora.lora_A", "lora.lora_B"))


def stretched(positions: Tensor, side: int) -> Tensor:
    """Position embeddings (1, 1 + n * n, C) for side x side patches, by DINOv2's bicubic rule."""
    grid = round((positions.shape[1] - 1) ** 0.5)
    if grid == side or positions.dim() != 3 or grid * grid + 1 != positions.shape[1]:
        return positions
    patches = positions[:, 1:].unflatten(1, (grid, grid)).permute(0, 3, 1, 2).float()
    factor = (side + OFFSET) / grid
    patches = F.interpolate(patches, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([positions[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)


def contrastive(tokens: Tensor, labels: Tensor) -> Tensor:
    """Contrastive loss of unit vectors: the distance in pairs of one class, 1 less the distance in pairs of two. Each
    mean is over the pairs whose loss is not 0."""
    unit_length = F.normalize(tokens.float(), dim=1)
    distances = (unit_length[:, None] - unit_length[None]).square().sum(dim=2).clamp_min(1e-12).sqrt()
    same = labels[:, None] == labels[None]
    other = torch.ones_like(same).fill_diagonal_(False)
    costs = ((same & other, distances), (~same, (1 - distances).clamp_min(0)))
    total = tokens.new_zeros((), dtype=torch.float32)
    for pairs, cost in costs:
        chosen = cost[pairs & (cost > 1e-5)]
        total = total + (chosen.mean() if len(chosen) else 0.0)
    return total
