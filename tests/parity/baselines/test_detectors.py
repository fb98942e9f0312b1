"""Detectors on ResNets and CLIP against their authors' code: inputs, stages, logits, in each variant."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pixelsleuth.models.backbones.clip import encoder_of, from_openai
from pixelsleuth.models.baseline import baseline_class
from pixelsleuth.models.weights import load_strict
from pixelsleuth.pictures.images import open_picture

VARIANTS = {
    "cnnspot": ("benchmark_resize256_crop224", "official_crop224", "native", "square256_crop224"),
    "npr": ("official_resize256", "native_even", "crop224", "tile_crop224", "square256_crop224"),
    "fredect": ("benchmark_resize256_crop224", "crop224"),
    "gramnet": (
        "original_512",
        "original_64_512",
        "original_native",
        "port_resize256_crop224",
        "port_crop224",
    ),
    "univfd": ("benchmark_resize256_crop224", "official_crop224", "square256_crop224"),
    "rine": ("official_crop224", "synthbuster_tencrop", "square256_crop224"),
}
FAST = [(name, variants[0], "0") for name, variants in VARIANTS.items()] + [
    ("npr", "tile_crop224", "small"),
    ("gramnet", "port_resize256_crop224", "0"),
    ("rine", "synthbuster_tencrop", "0"),
]
SLOW = [
    (name, variant, i)
    for name, variants in VARIANTS.items()
    for variant in variants
    for i in (*"012345", "small")
]


@pytest.fixture(scope="module")
def networks(goldens: Callable[[str], Any]) -> Callable[[str, str], Any]:
    """A detector with formula weights, made once for each kind of network."""

    @functools.cache
    def make(name: str, port: bool) -> Any:
        golden, kind = goldens(name), baseline_class(name)
        if name == "univfd":
            return golden.load(kind(encoder_of(golden.state())))
        if name == "rine":
            tower = goldens("univfd").state()
            encoder = encoder_of(tower)
            names = from_openai({key: value for key, value in tower.items() if key.startswith("visual.")})
            encoder.load_state_dict(names, strict=False)
            return golden.load(kind(encoder, projection=64))
        if name == "gramnet":
            meta = json.loads((golden.folder / "keys.json").read_text())
            how = meta["port"] if port else meta
            keys = meta["keys"] | (meta["port"]["keys_that_differ"] if port else {})
            state = golden.formula.formula_state(keys, how["gain"], how["seed"], None)
            network = kind(input="port_crop224" if port else "original_512")
            load_strict(network, {key: torch.from_numpy(value) for key, value in state.items()})
            return network.eval()
        added = {}
        if name == "fredect":
            for part, key in (("mean", "running_mean"), ("var", "running_var")):
                value = golden.formula.formula_tensor(f"dct.{key}", (3, 224, 224), 0)
                added[f"dct_{part}"] = torch.from_numpy(np.asarray(value)).float().double()
        return golden.load(kind(), added=added)

    return lambda name, variant: make(name, variant.startswith("port"))


def picture(golden: Any, i: str) -> np.ndarray:
    facts = next(one for one in golden.facts["images"] if one["id"] == i)
    pixels = open_picture(str(golden.folder.parent / "images" / facts["file"].split()[0])).pixels
    if "box_left_upper_right_lower" in facts:
        left, top, right, bottom = facts["box_left_upper_right_lower"]
        pixels = pixels[top:bottom, left:right]
    return pixels


@pytest.mark.parametrize("name, variant, i", FAST)
def test_input_stages_and_logit(
    goldens: Callable[[str], Any], networks: Callable[[str, str], Any], name: str, variant: str, i: str
) -> None:
    golden, network = goldens(name), networks(name, variant)
    facts = next(one for one in golden.facts["images"] if one["id"] == i)["variants"]
    if variant not in facts:
        pytest.skip(f"{variant} is not pinned for picture {i}")
    network.options["input"] = variant
    pixels = picture(golden, i)
    prepared = network.prepare(pixels)
    with torch.inference_mode():
        seen = network(prepared if prepared.ndim == 4 else prepared[None])
    kept = facts[variant]
    prefix = "" if variant == VARIANTS[name][0] else f"{variant}."
    limits = golden.facts["tolerance"]["per_tensor"]
    logits = seen["logits"] if prepared.ndim == 4 else seen["logits"][0]
    assert list(prepared.shape)[-3:] == kept["input"]["shape"][1:]
    first = prepared if prepared.ndim == 3 else prepared[0]
    golden.close(
        f"{i}.{prefix}input.sample", first, limits[f"{prefix}input.sample"]["tolerance"],
        tuple(kept["input"]["sample_strides"]),
    )  # fmt: skip
    golden.close(f"{i}.{prefix}logits", logits.squeeze(-1) if prepared.ndim == 4 else logits,
                 limits[f"{prefix}logits"]["tolerance"], (1,))  # fmt: skip
    with torch.inference_mode():
        score = float(network.run([prepared]).logit.sigmoid())
    assert score == pytest.approx(kept.get("score", kept.get("score_fake")), abs=1e-3)
    if name == "fredect":
        seen["logdct"] = network.log_dct(pixels)[None]
    for stage, how in kept.get("stages", {}).items():
        tolerance = limits[f"{prefix}{stage}.sample"]["tolerance"]
        golden.close(f"{i}.{prefix}{stage}.sample", seen[stage][0], tolerance, tuple(how["sample_strides"]))


@pytest.mark.thorough
@pytest.mark.parametrize("name, variant, i", SLOW)
def test_every_picture_in_every_variant(
    goldens: Callable[[str], Any], networks: Callable[[str, str], Any], name: str, variant: str, i: str
) -> None:
    test_input_stages_and_logit(goldens, networks, name, variant, i)


@pytest.mark.parametrize("name", ["cnnspot", "fredect", "npr", "gramnet"])
def test_the_weights_are_the_formulas_and_as_many_as_told(goldens: Callable[[str], Any], name: str) -> None:
    from pixelsleuth.models.facts import FACTS

    count = sum(one.numel() for one in baseline_class(name)().parameters())
    told = json.loads((goldens(name).folder / "keys.json").read_text())
    assert count == told.get("port", told)["parameters"]
    assert FACTS[name].parameters == count
