"""Detectors of whole pictures: any picture has a verdict, the batch changes nothing, training moves what learns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelsleuth.models.baseline import BaselineDetector, placed
from pixelsleuth.pictures.images import open_picture

SLOW = {"lnp": 6}
"""How many times smaller the pictures are for networks that work at native size."""


@pytest.fixture(scope="module")
def first(maker: Callable[[], Any]) -> Any:
    """What every test has a copy of."""
    torch.manual_seed(0)
    return maker().eval()


@pytest.fixture
def network(first: Any) -> Any:
    return copy.deepcopy(first)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def test_small_odd_and_grey_pictures_have_a_verdict_of_their_own(network: Any) -> None:
    detector = BaselineDetector(network)
    grey = np.repeat(picture(130, 241)[..., :1], 3, axis=2)
    by = SLOW.get(network.facts.name, 1)
    sizes = ((17, 40), (301 // by, 227 // by))
    pictures = [
        open_picture(array) for array in (*(picture(*size) for size in sizes), grey[: 130 // by, : 241 // by])
    ]
    together = detector.judge(pictures, explain=False)
    for opened, verdict in zip(pictures, together, strict=True):
        (alone,) = detector.judge([opened], explain=False)
        for label, chance in verdict.probabilities.items():
            assert chance == pytest.approx(alone.probabilities[label], abs=1e-5)
        assert sum(verdict.probabilities.values()) == pytest.approx(1)
        assert verdict.probabilities["tampered"] == 0
        assert verdict.mask is None


@torch.no_grad()
def test_the_layout_in_memory_changes_no_answer(network: Any) -> None:
    by = SLOW.get(network.facts.name, 1)
    seen = network.prepare(picture(200 // by, 150 // by))
    plain = network.run([seen]).logit
    assert placed(network, "cpu").run([seen]).logit == pytest.approx(plain, rel=1e-4, abs=1e-4)


def test_training_normalises_over_the_whole_batch(network: Any) -> None:
    network.begin_training()
    network.train()
    by = SLOW.get(network.facts.name, 1)
    random = np.random.default_rng(0)
    inputs = [network.example(picture(250 // by, 260 // by, seed), random) for seed in range(2)]
    seen: list[int] = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d) and layer.training:
            layer.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    network.loss(inputs, torch.tensor([0, 1]), [None, None])
    assert all(count >= len(inputs) for count in seen)


def test_training_steps_move_what_learns(network: Any) -> None:
    random = np.random.default_rng(0)
    network.train()
    by = SLOW.get(network.facts.name, 1)
    inputs = [network.example(picture(250 // by, 260 // by, seed), random) for seed in range(2)]
    learns = {name: weights for name, weights in network.named_parameters() if weights.requires_grad}
    before = {name: weights.detach().clone() for name, weights in learns.items()}
    optimiser = torch.optim.Adam(learns.values(), 1e-3)
    for _ in range(2):
        loss = network.loss(inputs, torch.tensor([0, 1]), [None, None])["loss"]
        assert bool(torch.isfinite(loss))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    moved = [name for name, weights in learns.items() if not torch.equal(weights, before[name])]
    assert len(moved) > 0.5 * len(learns)
    assert not any(name.startswith(("encoder.", "discriminator.", "denoiser.")) for name in learns)


def test_what_was_learnt_is_loaded_again(network: Any, maker: Callable[[], Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from pixelsleuth.models.weights import load_strict

    save_file({k: v.contiguous() for k, v in network.learnt().items()}, tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    again = maker().eval()
    load_strict(again, load_file(tmp_path / "weights.safetensors"))
    prepared = network.prepare(picture(256, 256))
    with torch.inference_mode():
        assert torch.equal(network.run([prepared]).logit, again.run([prepared]).logit)
