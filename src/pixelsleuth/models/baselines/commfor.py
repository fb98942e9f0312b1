"""Community-Forensics: a small ViT trained on pictures of thousands of generators (Park and Owens, CVPR 2025).

pixelsleuth check picture.jpg --model commfor --weights model.safetensors
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.baseline import Baseline, Output, by_shape, renamed
from pixelsleuth.models.facts import Facts, Origin, Remote
from pixelsleuth.models.inputs import IMAGENET, imagenet, jpeg, random_crop, short_side
from pixelsleuth.models.preparation import Steps

WIDTH, BLOCKS, HEADS, PATCH = 384, 12, 6, 16
LOAD = {"384": 440, "224": 256}
NAMES = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    "norm.": "layernorm.",
}
INSIDE = {"norm1.": "layernorm_before.", "norm2.": "layernorm_after.", "attn.proj.": "attention.o_proj."}


class CommFor(Baseline):
    """One logit of the class token. Option: `size`, of the network's picture."""

    facts = Facts(
        name="commfor",
        title="Community-Forensics",
        paper="Park, Owens: Community Forensics, CVPR 2025",
        source="JeongsooP/Community-Forensics@5ec815f",
        licence="MIT",
        where="on the hub as OwensLab/commfor-model-384 and -224",
        files=("model.safetensors",),
        made_for=Label.FULL_SYNTHETIC,
        options={"size": ("384", "224")},
        parameters=21_811_969,
        published="published by others: balanced accuracy 0.76 on clean pictures, 0.66 "
        "as the web serves them, 0.57 on hard ones",
        known_by="vit.blocks.0.attn.qkv.weight",
        light=True,
        origins=(
            Origin(
                "OwensLab/commfor-model-384",
                "6076002bf0d9dd37537f965ee2f06f826c333b61",
                (
                    Remote(
                        "model.safetensors",
                        "b89f36275f3bf5e2b040eee36597a8f19db051bff9a473a9cf7b2466284fb387",
                        87_262_324,
                    ),
                ),
            ),
        ),
    )

    def __init__(self, **options: str) -> None:
        from transformers import ViTConfig, ViTModel

        super().__init__(**options)
        self.side = int(self.options["size"])
        config = ViTConfig(
            hidden_size=WIDTH, num_hidden_layers=BLOCKS, num_attention_heads=HEADS, intermediate_size=4 * WIDTH,
            image_size=self.side, patch_size=PATCH, layer_norm_eps=1e-6, hidden_act="gelu",
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        self.vit = ViTModel(config, add_pooling_layer=False)
        self.head = nn.Linear(WIDTH, 1)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The checkpoint has timm's names (`vit.*`) and query, key and value in one tensor."""
        renamed_state: dict[str, Tensor] = {}
        for key, value in state.items():
            name = key.removeprefix("vit.")
            block = re.match(r"blocks\.(\d+)\.(.*)", name)
            if name.startswith("head."):
                renamed_state[name] = value
            elif block and block[2].startswith("attn.qkv."):
                for letter, part in zip("qkv", value.chunk(3), strict=True):
                    kind = block[2].removeprefix("attn.qkv.")
                    renamed_state[f"vit.layers.{block[1]}.attention.{letter}_proj.{kind}"] = part.contiguous()
            elif block:
                renamed_state[f"vit.layers.{block[1]}.{renamed(block[2], INSIDE)}"] = value
            else:
                renamed_state[f"vit.{renamed(name, NAMES)}"] = value
        return renamed_state

    @staticmethod
    def published(key: str) -> tuple[str, int]:
        """The published name of our tensor `key`, and which third of its rows it is (-1: all); the inverse of `adapt`.

        >>> CommFor.published("vit.layers.3.attention.k_proj.bias")
        ('vit.blocks.3.attn.qkv.bias', 1)
        """
        name = key.removeprefix("vit.")
        block = re.match(r"layers\.(\d+)\.(.*)", name)
        if block and (letter := re.match(r"attention\.([qkv])_proj\.(.*)", block[2])):
            return f"vit.blocks.{block[1]}.attn.qkv.{letter[2]}", "qkv".index(letter[1])
        inside, names = ({ours: theirs for theirs, ours in table.items()} for table in (INSIDE, NAMES))
        if block:
            return f"vit.blocks.{block[1]}.{renamed(block[2], inside)}", -1
        return f"vit.{renamed(name, names)}", -1

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, side, side)."""
        return [["short_side", LOAD[self.options["size"]]], ["crop", self.side], IMAGENET]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, side, side) -> `block0`, `block5`, `cls_normed` (B, 384) and `logits` (B, 1)."""
        output = self.vit(pixel_values=x, output_hidden_states=True)
        token = output.last_hidden_state[:, 0]
        states = output.hidden_states
        taps = {"tokens_in": states[0], "block0": states[1], "block5": states[6], "cls_normed": token}
        return taps | {"logits": self.head(token)}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, lambda x: Output(self(x)["logits"][:, 0]))

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """Three of its eleven operations: JPEG 75 to 100 in half of all cases, a random crop, mirrored in half."""
        if random.random() < 0.5:
            pixels = jpeg(pixels, int(random.integers(75, 101)))
        return imagenet(random_crop(short_side(pixels, LOAD[self.options["size"]]), self.side, random))
