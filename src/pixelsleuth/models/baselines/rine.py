"""RINE: the class token of every block of CLIP's frozen encoder, weighted and projected (Koutlis et al., ECCV 2024).

pixelsleuth check picture.jpg --model rine --weights model_2class_trainable.pth
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.clip import load_encoder
from pixelsleuth.models.baseline import Baseline, Output, by_shape
from pixelsleuth.models.baselines.univfd import clip_pixels
from pixelsleuth.models.facts import ANYTHING, Facts
from pixelsleuth.models.inputs import CLIP, blur_jpeg, centre_crop, random_crop, short_side
from pixelsleuth.models.preparation import Steps
from pixelsleuth.models.tensor_files import read_tensors
from pixelsleuth.models.weights import load_strict

SIDE, LOAD = 224, 256
AUGMENT, DROPOUT = 0.5, 0.5
XI, TEMPERATURE = 0.2, 0.07


class Rine(Baseline):
    """One logit. Options: `input` (`synthbuster_tencrop` is the mean logit of ten crops); `encoder`, as UnivFD's."""

    facts = Facts(
        name="rine",
        title="RINE",
        paper="Koutlis, Papadopoulos: Leveraging representations from intermediate encoder-blocks, ECCV 2024",
        source="mever-team/rine@9b7fd58",
        licence="Apache-2.0 (the head); the encoder under CLIP's",
        where="ckpt/ in the authors' repository; the encoder is openai/clip-vit-large-patch14 on the hub",
        files=("model_2class_trainable.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("official_crop224", "synthbuster_tencrop", "square256_crop224"),
            "encoder": ("openai/clip-vit-large-patch14", ANYTHING),
        },
        parameters=304_249_217,
        known_by="proj1.1.weight",
    )
    frozen = ("encoder",)

    def __init__(self, encoder: Any = None, *, projection: int = 128, depth: int = 4, **options: str) -> None:
        """`projection` and `depth`: width and number of each projection's layers, which the files differ in."""
        if isinstance(encoder, str):
            options["encoder"] = encoder
        super().__init__(**options)
        made = (
            load_encoder(self.options["encoder"]) if encoder is None or isinstance(encoder, str) else encoder
        )
        self.encoder = made.eval().requires_grad_(False)
        width, blocks = made.config.hidden_size, made.config.num_hidden_layers
        self.alpha = nn.Parameter(torch.randn(1, blocks, projection))
        self.proj1 = _layers(width, projection, depth)
        self.proj2 = _layers(projection, projection, depth)
        inner = [nn.Linear(projection, projection), nn.ReLU(), nn.Dropout(DROPOUT)]
        again = [nn.Linear(projection, projection), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.head = nn.Sequential(*inner, *again, nn.Linear(projection, 1))

    @classmethod
    def load(cls, weights: str | Path, **options: str) -> Self:
        """Width and depth are read off the file."""
        state = read_tensors(Path(weights), cls.facts.files)
        depth = sum(key.startswith("proj1.") and key.endswith(".weight") for key in state) or 4
        first = state.get("proj1.1.weight")
        network = cls(projection=128 if first is None else first.shape[0], depth=depth, **options)
        load_strict(network, state, name=str(weights))
        return network.eval()

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, 224, 224); what is smaller gets black around. (Ten crops: see `prepare`.)"""
        squared = self.options["input"] == "square256_crop224"
        return [*([["square", LOAD]] if squared else []), ["crop", SIDE], CLIP]

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The same, or (10, 3, 224, 224) for ten crops."""
        if self.options["input"] == "synthbuster_tencrop":
            return torch.stack([clip_pixels(crop) for crop in _ten(_at_least(pixels))])
        return super().prepare(pixels)

    @torch.no_grad()
    def rows(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, blocks, width): the class token behind each block's second norm."""
        tokens: list[Tensor] = []
        blocks = self.encoder.vision_model.encoder.layers
        handles = [
            block.layer_norm2.register_forward_hook(lambda _m, _i, output: tokens.append(output[:, 0]))
            for block in blocks
        ]
        try:
            self.encoder(pixel_values=x)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(tokens, dim=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, 224, 224) -> `cls_rows`, `projected`, `weighted`, `z` (B, projection) and `logits` (B, 1)."""
        taps = {"cls_rows": self.rows(x)}
        taps["projected"] = self.proj1(taps["cls_rows"])
        taps["weighted"] = (self.alpha.softmax(dim=1) * taps["projected"]).sum(dim=1)
        taps["z"] = self.proj2(taps["weighted"])
        return taps | {"logits": self.head(taps["z"])}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, self._answer)

    def _answer(self, x: Tensor) -> Output:
        logits = self(x.flatten(0, -4))["logits"]
        return Output(logits.view(len(x), -1).mean(dim=1))

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """Short side 256, blur and JPEG in half of all cases each, a random crop, mirrored in half."""
        return clip_pixels(random_crop(blur_jpeg(short_side(pixels, LOAD), random, AUGMENT), SIDE, random))

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """The sum of the cross entropies, and 0.2 of the supervised contrastive loss of `z`, a mean."""
        from pixelsleuth.models.backbones.heads import contrastive

        del masks
        taps = self(torch.stack(list(inputs)))
        logits = taps["logits"][:, 0]
        entropy = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="sum")
        contrast = contrastive(taps["z"], labels)
        return {"bce": entropy, "contrast": contrast, "loss": entropy + XI * contrast}


def _layers(inside: int, outside: int, depth: int) -> nn.Sequential:
    made: list[nn.Module] = [nn.Dropout(DROPOUT)]
    for number in range(depth):
        made += [nn.Linear(inside if number == 0 else outside, outside), nn.ReLU(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*made)


def _at_least(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    return np.pad(pixels, [(0, max(0, SIDE - height)), (0, max(0, SIDE - width)), (0, 0)])


def _ten(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Four corners and the centre, then the same of the mirrored picture."""
    crops = []
    for picture in (pixels, np.ascontiguousarray(pixels[:, ::-1])):
        corners = [
            picture[:SIDE, :SIDE],
            picture[:SIDE, -SIDE:],
            picture[-SIDE:, :SIDE],
            picture[-SIDE:, -SIDE:],
        ]
        crops += [*corners, centre_crop(picture, SIDE)]
    return crops
