"""Fusing and Community-Forensics against their authors' code: boxes to the pixel, sequences, tokens, logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pixelsleuth.models.baselines.commfor import CommFor
from pixelsleuth.models.baselines.fusing import Fusing, box_of
from pixelsleuth.models.inputs import imagenet

FUSING = {
    "sequence_in": 3e-5,
    "sequence_out": 3e-5,
    "embedding": 2e-5,
    "score7x7": 1e-2,
}


@pytest.fixture(scope="module")
def fusing(goldens: Callable[[str], Any]) -> Fusing:
    return goldens("fusing").load(Fusing())


@pytest.mark.parametrize("i", [0, *(pytest.param(i, marks=pytest.mark.thorough) for i in range(1, 6))])
def test_fusing(goldens: Callable[[str], Any], fusing: Fusing, i: int) -> None:
    golden = goldens("fusing")
    fusing.options["input"] = "resize224_crop224"
    facts = golden.facts["pictures"][i]
    with torch.inference_mode():
        prepared = fusing.prepare(golden.picture(i))
        seen = {name: found[0] for name, found in fusing([prepared]).items()}
    assert seen["boxes"].tolist() == facts["boxes_top_left_bottom_right"]
    golden.close(f"{i}.input.sample", seen["input"], 1e-6, (1, 7, 7))
    step = facts["full_sample_stride"]
    golden.close(f"{i}.full.sample", imagenet(prepared.numpy()), 1e-6, (1, step, step))
    golden.close(f"{i}.patches.sample", seen["patches"], 3e-6, (1, 1, 14, 14))
    golden.close(f"{i}.featuremap.sample", seen["featuremap"], 1.1e-4, (64, 1, 1))
    golden.close(f"{i}.patch_embedding.sample", seen["patch_embedding"], 2e-5, (1, 8))
    for name, tolerance in FUSING.items():
        golden.close(f"{i}.{name}", seen[name], tolerance, (1,))
    golden.close(f"{i}.logits", seen["logits"], 1.5e-5, (1,))


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["sidbench_crop_only_no_resize", "sidbench_resize256_crop224"])
@pytest.mark.parametrize("i", range(6))
def test_fusing_as_sidbench_sees_it(goldens: Callable[[str], Any], fusing: Fusing, how: str, i: int) -> None:
    golden = goldens("fusing")
    fusing.options["input"] = how
    facts = golden.facts["pictures"][i]["variants"][how]
    with torch.inference_mode():
        seen = fusing([fusing.prepare(golden.picture(i))])
    assert seen["boxes"][0].tolist() == facts["boxes_top_left_bottom_right"]
    assert float(seen["logits"]) == pytest.approx(facts["logit"], abs=1.5e-5)


def test_every_cell_of_every_size_has_its_box(goldens: Callable[[str], Any]) -> None:
    tensors = goldens("fusing").tensors
    names = [name for name in tensors if name.startswith("boxes.")]
    assert len(names) == 18
    for name in names:
        _, size, which = name.split(".")
        height, width = (int(part) for part in size.split("x"))
        grid = int(which[-1])
        patch = 224 if grid == 5 else 112
        made = [box_of(n // grid, n % grid, grid, patch, height, width) for n in range(grid * grid)]
        assert made == tensors[name].long().tolist(), name


@pytest.fixture(scope="module")
def commfor(goldens: Callable[[str], Any]) -> dict[str, CommFor]:
    golden = goldens("commfor")
    return {
        "384": golden.load(CommFor()),
        "224": golden.load(CommFor(size="224"), "keys_224.json"),
    }


@pytest.mark.parametrize("i", [0, *(pytest.param(i, marks=pytest.mark.thorough) for i in range(1, 6))])
def test_commfor(goldens: Callable[[str], Any], commfor: dict[str, CommFor], i: int) -> None:
    golden = goldens("commfor")
    prepared, seen = golden.look(commfor["384"], i)
    golden.close(f"{i}.input.sample", prepared, 1e-6, (1, 12, 12))
    for name, tolerance in {"tokens_in": 7e-5, "block0": 1e-4, "block5": 2.1e-4}.items():
        golden.close(f"{i}.{name}.sample", seen[name][0], tolerance, (18, 4))
    golden.close(f"{i}.cls_normed", seen["cls_normed"][0], 3e-5, (1,))
    small, other = golden.look(commfor["224"], i)
    golden.close(f"{i}.224.input.sample", small, 1e-6, (1, 7, 7))
    golden.close(f"{i}.224.cls_normed", other["cls_normed"][0], 3e-5, (1,))
    logits = torch.cat([seen["logits"][0], other["logits"][0]])
    golden.close(f"{i}.logits", logits, 2e-5, (1,))
