"""MVSS-Net against its authors' code (and IMDLBenCo's loss), in both orders of the colour planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pixelsleuth.models.baselines.mvss_net import MvssNet, edges_of

TOLERANCES = {
    "input": 1e-6, "bayar": 1e-5, "layer1": 4e-5, "rgb_layer4": 5e-4, "noise_layer4": 5e-4, "pam": 1e-2, "cam": 4e-4,
    "mask": 4e-3, "edge": 2e-4,
}  # fmt: skip

FORGED = torch.zeros(512, 512)
FORGED[128:320, 160:400] = 1


@pytest.fixture(scope="module")
def golden(goldens: Callable[[str], Any]) -> Any:
    return goldens("mvss_net")


@pytest.fixture(scope="module")
def networks(golden: Any) -> dict[str, MvssNet]:
    """One set of weights under both orders."""
    bgr = golden.load(MvssNet())
    with torch.device("meta"):
        rgb = MvssNet(planes="rgb")
    rgb.load_state_dict(bgr.state_dict(), assign=True)
    return {"bgr": bgr, "rgb": rgb.eval()}


def test_sobel_kernels_are_those_of_the_checkpoints(golden: Any) -> None:
    with torch.device("cpu"):
        own = MvssNet().state_dict()
    constants = {key: value for key, value in golden.tensors.items() if key.startswith("const.")}
    assert len(constants) == 8
    for key, value in constants.items():
        assert torch.equal(own[key.removeprefix("const.")], value)


def looked(golden: Any, networks: dict[str, MvssNet], planes: str, i: int) -> dict[str, torch.Tensor]:
    network, seen = networks[planes], {}

    def keep(*names: str) -> Callable[..., None]:
        def hook(_: Any, __: Any, output: Any) -> None:
            stages = output if isinstance(output, list) else [output]
            seen.update(zip(names, (stages[0], stages[-1]), strict=False))

        return hook

    hooks = [
        network.constrain_conv.register_forward_hook(keep("bayar")),
        network.model.register_forward_hook(keep("layer1", "rgb_layer4")),
        network.noise_extractor.register_forward_hook(keep("noise_layer4")),
        network.head.pam.register_forward_hook(keep("pam")),
        network.head.cam.register_forward_hook(keep("cam")),
    ]
    picture, maps = golden.look(network, i)
    for hook in hooks:
        hook.remove()
    return {name: value[0] for name, value in seen.items()} | {
        "input": picture, "mask": maps.mask[0], "edge": maps.edge[0]
    }  # fmt: skip


def check(golden: Any, networks: dict[str, MvssNet], planes: str, i: int) -> None:
    seen = looked(golden, networks, planes, i)
    prefix = "" if planes == "bgr" else "rgb."
    for name, tolerance in TOLERANCES.items():
        if f"{i}.{prefix}{name}.sample" in golden.tensors:
            golden.close(f"{i}.{prefix}{name}.sample", seen[name], tolerance)
    facts = golden.facts["pictures"][i]["variants"][planes]
    mask, edge = seen["mask"], seen["edge"]
    assert float(mask.max()) == pytest.approx(facts["logit"], abs=7e-4)
    for name, value in (("mask_logit", mask), ("edge_logit", edge)):
        for kind in ("min", "max", "mean", "std"):
            assert float(getattr(value, kind)()) == pytest.approx(facts[name][kind], abs=4e-3)
    for name, value in (("mask512", mask), ("edge128", edge)):
        assert abs(int((value.sigmoid() > 0.5).sum()) - facts[f"{name}_pixels_over_half"]) <= 30
        assert float(value.sigmoid().mean()) == pytest.approx(facts[f"{name}_mean"], abs=2e-4)
    saved, size = facts["saved_mask"], golden.picture(i).shape[:2]
    written = networks[planes].saved(mask[0], *size).astype(np.float32) / 255
    assert list(written.shape[::-1]) == saved["size"]
    assert abs(int((written > 0.5).sum()) - saved["pixels_over_half"]) <= 30
    assert float(written.max()) == pytest.approx(saved["score"], abs=1.1 / 255)
    assert float(written.mean()) == pytest.approx(saved["mean"], abs=2e-4)


@pytest.mark.parametrize(
    "planes, i", [pytest.param(planes, 3, marks=pytest.mark.thorough) for planes in ("bgr", "rgb")]
)
def test_branches_masks_and_edges(golden: Any, networks: dict[str, MvssNet], planes: str, i: int) -> None:
    check(golden, networks, planes, i)


@pytest.mark.thorough
@pytest.mark.parametrize("planes", ["bgr", "rgb"])
@pytest.mark.parametrize("i", range(6))
def test_every_picture(golden: Any, networks: dict[str, MvssNet], planes: str, i: int) -> None:
    check(golden, networks, planes, i)


def test_edge_masks(golden: Any) -> None:
    counted = golden.facts["loss"]["values"]["edge_mask_pixels"]
    assert [0, int(edges_of(FORGED[None, None]).sum())] == counted
    assert not edges_of(torch.zeros(1, 1, 512, 512)).any()


@pytest.mark.thorough
def test_losses(golden: Any, networks: dict[str, MvssNet]) -> None:
    facts, network = golden.facts["loss"]["values"], networks["rgb"]
    inputs = [network.prepare(golden.picture(i)) for i in (0, 1)]
    with torch.inference_mode():
        parts = network.loss(inputs, torch.tensor([0, 1]), [None, FORGED])
    for name in ("dice_mask", "dice_edge", "bce_label"):
        assert float(parts[name]) == pytest.approx(facts[name], abs=2e-4)
    assert float(parts["loss"]) == pytest.approx(facts["total"], abs=2e-4)
