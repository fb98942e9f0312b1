"""LNP, with three channels and with five, against its authors' code: corners of pictures, and whole ones (slow)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pixelsleuth.models.baselines.lnp import Lnp

ORDER = ("benchmark_3ch", "rgb_3ch", "original_5ch_crop224", "original_5ch_resize256_crop224")
FROM_NOISE = {"3ch": 1.1e-3, "5ch": 0.27}
"""Phases jump where one level of the stored picture does: the golden's README."""


@pytest.fixture(scope="module")
def golden(goldens: Callable[[str], Any]) -> Any:
    return goldens("lnp")


@pytest.fixture(scope="module")
def network_of(golden: Any) -> Callable[[str], Lnp]:
    denoiser = golden.state("keys_denoiser.json")

    @functools.cache
    def of(keys: str) -> Lnp:
        how = next(one for one in ORDER if keys_of(one) == keys)
        return golden.load(Lnp(input=how), keys=keys, added=denoiser)

    def told(how: str) -> Lnp:
        network = of(keys_of(how))
        network.options["input"] = how
        return network

    return told


def keys_of(how: str) -> str:
    return "keys_5ch.json" if "5ch" in how else "keys.json"


def apart(how: str) -> float:
    return FROM_NOISE["5ch" if "5ch" in how else "3ch"]


def modulo(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Distance of 8-bit levels around the circle: 0 and 255 are neighbours after the overflow."""
    distance = (ours.int() - theirs.int()).abs()
    return torch.minimum(distance, 256 - distance)


def logits(network_of: Callable[[str], Lnp], stored: np.ndarray) -> dict[str, float]:
    with torch.inference_mode():
        return {
            how: float(network(network.view(stored)[None])["logits"])
            for how in ORDER
            for network in [network_of(how)]
        }


@pytest.mark.parametrize("i", [0, *(pytest.param(i, marks=pytest.mark.thorough) for i in range(1, 6))])
def test_the_corner(golden: Any, network_of: Callable[[str], Lnp], i: int) -> None:
    network = network_of(ORDER[0])
    prepared = network.prepare(golden.picture(i)[:128, :128])
    stored = network.stored(prepared)
    with torch.inference_mode():
        noise = network.denoiser(prepared.permute(2, 0, 1)[None].float() / 255)["noise"][0]
    golden.close(f"{i}.quick.noise.sample", noise, 3e-5, (1, 4, 4))
    distance = modulo(
        torch.from_numpy(stored[::4, ::4]),
        golden.tensors[f"{i}.quick.overflow_u8.sample"],
    )
    assert int(distance.max()) <= 1
    assert float((distance > 0).float().mean()) <= 0.0012
    for place, (how, logit) in enumerate(logits(network_of, stored).items()):
        told = float(golden.tensors[f"{i}.quick.logits"][place])
        assert logit == pytest.approx(told, abs=apart(how)), how


@pytest.mark.parametrize("i", [0, 3])
def test_the_classifiers_from_the_pinned_picture(
    golden: Any, network_of: Callable[[str], Lnp], i: int
) -> None:
    """Alone they agree a thousand times closer than behind the denoiser, whose roundings move phases."""
    stored = np.asarray(golden.tensors[f"{i}.quick.overflow_u8"])
    for place, (how, logit) in enumerate(logits(network_of, stored).items()):
        told = float(golden.tensors[f"{i}.quick.logits"][place])
        assert logit == pytest.approx(told, abs=8e-5 if "5ch" in how else 5e-5), how


@pytest.mark.thorough
@pytest.mark.parametrize("i", [0])
def test_the_whole_picture(golden: Any, network_of: Callable[[str], Lnp], i: int) -> None:
    network = network_of(ORDER[0])
    facts = golden.facts["pictures"][i]
    step, space = facts["stage_stride"], facts["sample_stride"]
    prepared = network.prepare(golden.picture(i))
    with torch.inference_mode():
        seen = network.denoiser(prepared.permute(2, 0, 1)[None].float() / 255)
    golden.close(f"{i}.head.sample", seen["head"][0], 1e-5, (16, step, step))
    golden.close(f"{i}.rrg0.sample", seen["rrg0"][0], 1e-5, (16, step, step))
    golden.close(f"{i}.rrg3.sample", seen["rrg3"][0], 3.5e-5, (16, step, step))
    golden.close(f"{i}.noise.sample", seen["noise"][0], 3e-5, (1, space, space))
    for place, (how, logit) in enumerate(logits(network_of, network.stored(prepared)).items()):
        told = float(golden.tensors[f"{i}.logits"][place])
        assert logit == pytest.approx(told, abs=apart(how)), how
