"""UnivFD: one linear layer on CLIP's frozen image feature (Ojha et al., CVPR 2023).

pixelsleuth check picture.jpg --model univfd --weights fc_weights.pth
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.clip import encoder_of, from_openai, load_encoder
from pixelsleuth.models.baseline import Baseline, Output, by_shape
from pixelsleuth.models.facts import ANYTHING, Facts
from pixelsleuth.models.inputs import (
    CLIP,
    CLIP_MEAN,
    CLIP_STD,
    blur_jpeg,
    normalised,
    random_crop,
    short_side,
    unit,
)
from pixelsleuth.models.preparation import Steps
from pixelsleuth.models.tensor_files import read_tensors
from pixelsleuth.models.weights import load_strict

SIDE, LOAD = 224, 256
AUGMENT = 0.5


class UnivFd(Baseline):
    """One logit. Options: `input`; `encoder`, a CLIP folder or hub id, for checkpoints that hold the head alone."""

    facts = Facts(
        name="univfd",
        title="UnivFD",
        paper="Ojha, Li, Lee: Towards universal fake image detectors, CVPR 2023",
        source="WisconsinAIVision/UniversalFakeDetect@76a0e3e",
        licence="MIT (the head); the encoder under CLIP's",
        where="fc_weights.pth in the authors' repository; the encoder is openai/clip-vit-large-patch14 on the hub",
        files=("fc_weights.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("benchmark_resize256_crop224", "official_crop224", "square256_crop224"),
            "encoder": ("openai/clip-vit-large-patch14", ANYTHING),
        },
        parameters=303_966_977,
        published="published: mean accuracy 0.784 on the 16 sets of AIGCDetectBenchmark",
    )
    frozen = ("encoder",)

    def __init__(self, encoder: Any = None, **options: str) -> None:
        """`encoder` may also be a CLIPVisionModelWithProjection itself."""
        if isinstance(encoder, str):
            options["encoder"] = encoder
        super().__init__(**options)
        made = (
            load_encoder(self.options["encoder"]) if encoder is None or isinstance(encoder, str) else encoder
        )
        self.encoder = made.eval().requires_grad_(False)
        self.fc = nn.Linear(made.config.projection_dim, 1)
        nn.init.normal_(self.fc.weight, std=0.02)

    @classmethod
    def load(cls, weights: str | Path, **options: str) -> Self:
        """The head's file, or a training's checkpoint with the encoder inside."""
        state = _plain(read_tensors(Path(weights), cls.facts.files))
        inside = "visual.conv1.weight" in state
        network = cls(encoder_of(state), **_without_encoder(options)) if inside else cls(**options)
        load_strict(network, state, name=str(weights))
        return network.eval()

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The checkpoint has OpenAI's names for the encoder, or the head alone."""
        renamed_state = from_openai(_plain(state))
        names = {
            key: key if key.startswith(("fc.", "encoder.")) else f"encoder.{key}" for key in renamed_state
        }
        return super().adapt({names[key]: value for key, value in renamed_state.items()})

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, 224, 224) with CLIP's statistics."""
        first = {
            "benchmark_resize256_crop224": [["short_side", LOAD]],
            "square256_crop224": [["square", LOAD]],
        }
        return [*first.get(self.options["input"], []), ["crop", SIDE], CLIP]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, 224, 224) -> tokens, `feature` (B, projection) and `logits` (B, 1)."""
        output = self.encoder(pixel_values=x, output_hidden_states=True)
        states = output.hidden_states
        taps = {
            "embedded": states[0],
            "block0": states[1],
            "last_block": states[-1],
            "feature": output.image_embeds,
        }
        return taps | {"logits": self.fc(output.image_embeds)}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, lambda x: Output(self(x)["logits"][:, 0]))

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """Short side 256, blur and JPEG in half of all cases each, a random crop, mirrored in half."""
        return clip_pixels(random_crop(blur_jpeg(short_side(pixels, LOAD), random, AUGMENT), SIDE, random))


def clip_pixels(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) with CLIP's statistics."""
    return normalised(unit(pixels), CLIP_MEAN, CLIP_STD)


def _without_encoder(options: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in options.items() if key != "encoder"}


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefix `model.` of a training's checkpoint, and with `fc.` for the head's bare names."""
    plain = {key.removeprefix("model."): value for key, value in state.items()}
    return {f"fc.{key}" if key in ("weight", "bias") else key: value for key, value in plain.items()}
