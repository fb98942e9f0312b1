"""LGrad against its authors' code: the discriminator and its gradient, the classifier from the pinned gradient picture.

Gradients are not asked to be equal: a leaky ReLU near 0 that changes sign moves a whole neighbourhood.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pixelsleuth.models.baselines.lgrad import LGrad, as_levels

ORDER = ("benchmark_bgr_crop224", "original_rgb_256", "rgb_crop224", "bgr_256", "sidbench_centercrop256_bgr")


@pytest.fixture(scope="module")
def golden(goldens: Callable[[str], Any]) -> Any:
    return goldens("lgrad")


@pytest.fixture(scope="module")
def network(golden: Any) -> LGrad:
    return golden.load(LGrad(), added=golden.state("keys_discriminator.json"))


@pytest.mark.parametrize("i", [0, *(pytest.param(i, marks=pytest.mark.thorough) for i in range(1, 6))])
def test_the_discriminator_and_its_gradient(golden: Any, network: LGrad, i: int) -> None:
    network.options["input"] = ORDER[0]
    prepared = network.prepare(golden.picture(i))
    golden.close(f"{i}.input.sample", prepared, 1e-6, (1, 8, 8))
    with torch.inference_mode():
        seen = network.discriminator(prepared[None])
    golden.close(f"{i}.d.input0.sample", seen["input0"][0], 4e-5, (8, 16, 16))
    golden.close(f"{i}.d.layer1.sample", seen["layer1"][0], 4e-3, (8, 8, 8))
    golden.close(f"{i}.d.layer11.sample", seen["layer11"][0], 4e-4, (16, 1, 1))
    golden.close(f"{i}.d.layer13", seen["layer13"][0], 2e-4, (1,))
    golden.close(f"{i}.d.score", seen["score"][0], 2e-4, (1,))
    slope = network.gradient(prepared[None])
    sampled = slope[0, :, ::8, ::8].permute(1, 2, 0)
    assert float((sampled - golden.tensors[f"{i}.gradient.sample"]).abs().mean()) < 8e-7
    levels = as_levels(slope)[0, :, ::4, ::4].permute(1, 2, 0)
    wrong = (levels - golden.tensors[f"{i}.gradient_u8_rgb.sample"].float()).abs()
    assert float((wrong > 0).float().mean()) < 0.065
    assert float(wrong.mean()) < 0.065


@pytest.mark.parametrize("i", [0, pytest.param(4, marks=pytest.mark.thorough)])
def test_the_classifier_from_the_pinned_gradient(golden: Any, network: LGrad, i: int) -> None:
    levels = golden.tensors[f"{i}.gradient_u8_rgb"].permute(2, 0, 1).float()[None]
    for place, how in enumerate(ORDER[:4]):
        network.options["input"] = how
        with torch.inference_mode():
            seen = network(levels)
        assert float(seen["logits"]) == pytest.approx(float(golden.tensors[f"{i}.logits"][place]), abs=1.2e-3)
        if place == 0:
            golden.close(f"{i}.c.layer4.sample", seen["layer4"][0], 5e-3, (64, 1, 1))


@pytest.mark.thorough
@pytest.mark.parametrize("i", range(6))
def test_end_to_end(golden: Any, network: LGrad, i: int) -> None:
    for place, how in enumerate(ORDER):
        network.options["input"] = how
        with torch.inference_mode():
            logit = network.run([network.prepare(golden.picture(i))]).logit
        assert float(logit) == pytest.approx(float(golden.tensors[f"{i}.logits"][place]), abs=0.9)


def test_gradients_of_a_batch_are_those_of_single_pictures(network: LGrad, golden: Any) -> None:
    inputs = torch.stack([network.prepare(golden.picture(i)) for i in (0, 3)])
    together, alone = network.gradient(inputs), network.gradient(inputs[1:])
    assert float((together[1] - alone[0]).abs().mean()) < 8e-7
