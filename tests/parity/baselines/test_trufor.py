"""TruFor against its authors' test code, and the confidence of the training repository's batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pixelsleuth.models.baselines.trufor import TruFor


@pytest.fixture(scope="module")
def golden(goldens: Callable[[str], Any]) -> Any:
    return goldens("trufor")


@pytest.fixture(scope="module")
def network(golden: Any) -> TruFor:
    made: TruFor = golden.load(TruFor())
    return made


def check(golden: Any, network: TruFor, i: int) -> None:
    seen: dict[str, torch.Tensor] = {}

    def keep(*names: str) -> Callable[..., None]:
        def hook(_: Any, __: Any, output: Any) -> None:
            values = output if isinstance(output, tuple) else (output,)
            seen.update({name: value[0] for name, value in zip(names, values, strict=True)})

        return hook

    encoder = network.backbone
    hooks = [
        encoder.get_submodule("block1.0").register_forward_hook(keep("block1_0")),
        encoder.FRMs[0].register_forward_hook(keep("frm0_rgb", "frm0_extra")),
        encoder.FFMs[0].register_forward_hook(keep("ffm0")),
        encoder.FFMs[3].register_forward_hook(keep("ffm3")),
        network.decode_head.linear_fuse.register_forward_hook(keep("fuse")),
    ]
    picture, maps = golden.look(network, i)
    for hook in hooks:
        hook.remove()
    facts = golden.facts["pictures"][i]
    steps = facts["strides"]
    one, plane = steps["stage1_stride"], steps["noiseprint_mask_confidence_stride"]
    mask, confidence = maps.mask[0].softmax(dim=0)[1], maps.confidence[0, 0].sigmoid()
    for name, value, stride, tolerance in (
        ("input.sample", picture, (1, steps["input_stride"], steps["input_stride"]), 1e-6),
        ("noiseprint.sample", maps.noise[0, 0], (plane, plane), 6e-6),
        ("block1_0.sample", seen["block1_0"], (steps["block1_0_token_stride"], 16), 3e-5),
        ("frm0_rgb.sample", seen["frm0_rgb"], (16, one, one), 5e-5),
        ("frm0_extra.sample", seen["frm0_extra"], (16, one, one), 5e-5),
        ("ffm0.sample", seen["ffm0"], (16, one, one), 2.2e-4),
        ("ffm3.sample", seen["ffm3"], (16, steps["ffm3_stride"], steps["ffm3_stride"]), 7e-5),
        ("fuse.sample", seen["fuse"], (32, one, one), 2e-4),
        (
            "low_logits.sample",
            maps.low[0],
            (1, steps["low_logits_stride"], steps["low_logits_stride"]),
            1.2e-4,
        ),
        (
            "mask_logits.sample",
            maps.mask[0],
            (1, steps["mask_logits_stride"], steps["mask_logits_stride"]),
            1.2e-4,
        ),
        ("mask.sample", mask, (plane, plane), 3e-5),
        ("confidence.sample", confidence, (plane, plane), 3e-5),
        ("statistics", maps.statistics[0], (1,), 7e-5),
        ("logits", maps.score, (1,), 2e-5),
    ):
        golden.close(f"{i}.{name}", value, tolerance, stride)
    assert float(maps.score[0]) == pytest.approx(facts["logit"], abs=2e-5)
    near = facts["mask"]["pixels_within_1e_minus_4_of_0p5"]
    assert mask.numel() == facts["mask"]["pixels"]
    assert abs(int((mask > 0.5).sum()) - facts["mask"]["pixels_over_0p5"]) <= near
    for name, value in (("mask", mask), ("confidence", confidence)):
        for kind in ("mean", "min", "max"):
            assert float(getattr(value, kind)()) == pytest.approx(facts[name][kind], abs=3e-5)
    output = network.run([picture])
    assert ("fake" if output.logit[0] > 0 else "real") == facts["decision"]
    torch.testing.assert_close(output.mask[0].sigmoid(), mask, rtol=0, atol=1e-5)


def test_all_that_is_pinned(golden: Any, network: TruFor) -> None:
    check(golden, network, 3)


@pytest.mark.thorough
@pytest.mark.parametrize("i", range(6))
def test_every_picture(golden: Any, network: TruFor, i: int) -> None:
    check(golden, network, i)


@pytest.mark.parametrize("i", [3, pytest.param(5, marks=pytest.mark.thorough)])
def test_confidence_of_the_training_repository(golden: Any, network: TruFor, i: int) -> None:
    with torch.device("meta"):
        other = TruFor(confidence_eps="1e-3")
    other.load_state_dict(network.state_dict(), assign=True)
    other.eval()
    _, maps = golden.look(other, i)
    facts = golden.facts["pictures"][i]
    step = facts["strides"]["noiseprint_mask_confidence_stride"]
    confidence = maps.confidence[0, 0].sigmoid()
    golden.close(f"{i}.train_repo.confidence.sample", confidence, 3e-5, (step, step))
    wanted = facts["variants"]["train_repo_confidence_eps_1e_minus_3"]
    assert float(maps.score[0]) == pytest.approx(wanted["logit"], abs=2e-5)
    assert float(confidence.mean()) == pytest.approx(wanted["confidence_mean"], abs=3e-5)
