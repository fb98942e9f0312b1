"""PSCC-Net against its authors' code: maps, masks, classes and losses, in the variants that are pinned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pixelsleuth.models.baselines.pscc_net import Maps, PsccNet

VARIANTS = {"native": "", "resize256": "r256.", "imdlbenco256": "imdl."}


@pytest.fixture(scope="module")
def golden(goldens: Callable[[str], Any]) -> Any:
    return goldens("pscc_net")


@pytest.fixture(scope="module")
def networks(golden: Any) -> dict[str, PsccNet]:
    return {kind: golden.load(PsccNet(input=kind)) for kind in VARIANTS}


def check(golden: Any, seen: Maps, picture: torch.Tensor, network: PsccNet, kind: str, i: int) -> None:
    prefix = VARIANTS[kind]
    golden.close(f"{i}.{prefix}input.sample", picture, 1e-6)
    golden.close(f"{i}.{prefix}logits", seen.classes[0], 1.1e-5)
    facts = golden.facts["pictures"][i]["variants"][kind]
    assert facts["feature_sizes"] == [[x.shape[-1], x.shape[-2]] for x in seen.features]
    if kind == "imdlbenco256":
        golden.close(f"{i}.{prefix}mask4_logit.sample", seen.masks[3][0], 4e-4)
        for name, value in facts["mask4_logit"].items():
            assert float(getattr(seen.masks[3], name)()) == pytest.approx(value, abs=4e-4)
        return
    for number in range(4):
        golden.close(f"{i}.{prefix}s{number + 1}.sample", seen.features[number][0], 6e-5)
        golden.close(f"{i}.{prefix}mask{number + 1}.sample", seen.masks[number][0].sigmoid(), 8e-5)
        same_figures(facts[f"mask{number + 1}"], seen.masks[number].sigmoid())
    whole = network.mask_at(seen, picture[None])[0]
    golden.close(f"{i}.{prefix}mask.sample", whole, 8e-5)
    same_figures(facts["mask_at_input_size"], whole)


@pytest.mark.parametrize("kind, i", [("native", 0), ("resize256", 3), ("imdlbenco256", 3)])
def test_input_maps_masks_and_classes(golden: Any, networks: Any, kind: str, i: int) -> None:
    picture, seen = golden.look(networks[kind], i)
    check(golden, seen, picture, networks[kind], kind, i)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.parametrize("i", range(6))
def test_every_picture(golden: Any, networks: Any, kind: str, i: int) -> None:
    test_input_maps_masks_and_classes(golden, networks, kind, i)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["native", "resize256"])
def test_run_gives_the_logit_and_the_mask_of_every_picture(golden: Any, networks: Any, kind: str) -> None:
    """Pictures of several sizes in one call."""
    network = networks[kind]
    output = network.run([network.prepare(golden.picture(i)) for i in (3, 0, 5)])
    for place, i in enumerate((3, 0, 5)):
        facts = golden.facts["pictures"][i]["variants"][kind]
        assert float(output.logit[place]) == pytest.approx(facts["logit"], abs=1.5e-4)
        same_figures(facts["mask_at_input_size"], output.mask[place].sigmoid())


@pytest.mark.parametrize("kind", ["resize256", pytest.param("imdlbenco256", marks=pytest.mark.thorough)])
@torch.inference_mode()
def test_losses(golden: Any, networks: Any, kind: str) -> None:
    facts = golden.facts["loss" if kind == "resize256" else "loss_imdlbenco"]["values"]
    mask = torch.zeros(256, 256)
    mask[64:160, 80:200] = 1
    network = networks[kind]
    inputs = [network.prepare(golden.picture(i)) for i in (0, 1)]
    parts = network.loss(inputs, torch.tensor([0, 1]), [None, mask])
    names = {"seg_loss": "seg", "cls_loss": "cls", "combined_loss": "loss", "total": "loss"}
    for name, value in facts.items():
        if name != "mask_pixels":
            assert float(parts[names.get(name, name)]) == pytest.approx(value, rel=1.5e-4, abs=1.5e-4), name


def same_figures(facts: dict[str, float], mask: torch.Tensor) -> None:
    assert mask.numel() == facts["pixels"]
    assert abs(int((mask > 0.5).sum()) - facts["pixels_over_half"]) <= 10
    for name in ("mean", "min", "max"):
        assert float(getattr(mask, name)()) == pytest.approx(facts[name], abs=1.5e-4)
