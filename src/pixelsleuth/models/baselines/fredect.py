"""FreDect: a ResNet-50 on the logarithm of the picture's cosine transform (Frank et al., ICML 2020; benchmark port).

pixelsleuth check picture.jpg --model fredect --weights FOLDER     # DCTAnalysis.pth, dct_mean, dct_var
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelsleuth.core.verdict import Label
from pixelsleuth.models.backbones.resnet import ours, resnet50
from pixelsleuth.models.baseline import Baseline, Output, by_shape
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.preparation import Steps, prepared

SIDE, LOAD = 224, 256


class FreDect(Baseline):
    """One logit. `dct_mean` and `dct_var` (3, 224, 224) float64 are those of its training data."""

    facts = Facts(
        name="fredect",
        title="FreDect",
        paper="Frank, Eisenhofer, Schoenherr, Fischer, Kolossa, Holz: Leveraging frequency analysis, ICML 2020",
        source="port of the unified benchmark: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="MIT (the original); the port has no licence file",
        where="mirrored on the hub in dkarageo/sidbench, folder freqdetect; dct_mean and dct_var beside the network",
        files=("DCTAnalysis.pth", "dct_mean", "dct_var"),
        made_for=Label.FULL_SYNTHETIC,
        options={"input": ("benchmark_resize256_crop224", "crop224")},
        parameters=23_510_081,
        published="published: mean accuracy 0.640 on the 16 sets of AIGCDetectBenchmark",
        known_by="dct_mean",
    )
    dct_mean: Tensor
    dct_var: Tensor

    def __init__(self, **options: str) -> None:
        super().__init__(**options)
        self.resnet = resnet50()
        self.fc = nn.Linear(2048, 1)
        nn.init.normal_(self.fc.weight, std=0.02)
        self.register_buffer("dct_mean", torch.zeros(3, SIDE, SIDE, dtype=torch.float64))
        self.register_buffer("dct_var", torch.ones(3, SIDE, SIDE, dtype=torch.float64))

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {ours(key): value for key, value in state.items()}

    def steps(self) -> Steps:
        """(H, W, 3) uint8 -> (3, 224, 224) float64: natural logarithm of the orthonormal transform of 0..255."""
        resized = self.options["input"] == "benchmark_resize256_crop224"
        return [*([["short_side", LOAD]] if resized else []), ["crop", SIDE], ["log_dct"]]

    def log_dct(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> (3, 224, 224) float64."""
        return torch.from_numpy(prepared(pixels, self.steps()))

    def finish(self, x: Tensor) -> Tensor:
        """(3, 224, 224) float64 -> float32, normalised in double precision by the training data's statistics."""
        return ((x - self.dct_mean.to(x.device)) / self.dct_var.to(x.device).sqrt()).float()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, 224, 224) -> the stages and `logits` (B, 1)."""
        stages: dict[str, Tensor] = self.resnet(x)
        return stages | {"logits": self.fc(stages["pooled"])}

    def run(self, inputs: Sequence[Tensor]) -> Output:
        return by_shape(inputs, lambda x: Output(self(x)["logits"][:, 0]))
