"""Paste-back, the changed-pixel mask, and what is done with edits that came to nothing or came back black."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelsleuth.errors import Rejected
from pixelsleuth.forge import diffusion, editing
from pixelsleuth.forge.configuration import EditConfig, ForgeConfig
from pixelsleuth.forge.editing import changed_pixels, paste_back
from pixelsleuth.forge.locating import png
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import write_file


def pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    before, after = (random.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(2))
    given = np.zeros((60, 80), np.uint8)
    given[20:40, 30:60] = 255
    return before, after, given


def test_hard_keeps_every_pixel_outside_and_every_new_one_inside() -> None:
    before, after, given = pictures()
    made, truth = paste_back(before, after, given, "hard", 3)
    assert np.array_equal(made[given == 0], before[given == 0])
    assert np.array_equal(made[given > 0], after[given > 0])
    assert np.array_equal(truth, given)


@pytest.mark.parametrize("feather", [1.0, 3.0, 8.0])
def test_feather_blends_outside_the_mask_and_the_truth_covers_it(feather: float) -> None:
    before, after, given = pictures()
    made, truth = paste_back(before, after, given, "feather", feather)
    assert np.array_equal(made[truth == 0], before[truth == 0])
    assert np.array_equal(made[given > 0], after[given > 0])
    assert (truth >= given).all()
    assert truth.sum() > given.sum()
    assert not (changed_pixels(before, made, 0) & ~truth).any()


def test_none_leaves_everything_to_the_model() -> None:
    before, after, given = pictures()
    made, truth = paste_back(before, after, given, "none", 3)
    assert np.array_equal(made, after)
    assert np.array_equal(truth, given)


def test_changed_pixels_are_those_above_the_threshold() -> None:
    before = np.full((4, 5, 3), 100, np.uint8)
    after = before.copy()
    after[0, 0, 1], after[1, 1, 2], after[2, 2, 0] = 103, 104, 90
    assert list(zip(*np.nonzero(changed_pixels(before, after, 3)), strict=True)) == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    "fate, message",
    [
        ("black", "came back black"),
        ("same", "only 0% of the region changed"),
        ("everywhere", "covers 100.0%"),
    ],
)
def test_edits_that_came_to_nothing_are_tried_again_and_then_rejected(
    fate: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after, given = pictures()
    seeds: list[int] = []

    def fake(
        pixels: np.ndarray, mask: np.ndarray, _: str, seed: int, *__: Any
    ) -> tuple[np.ndarray, np.ndarray, dict]:
        seeds.append(seed)
        if fate == "everywhere":
            return after, np.full_like(mask, 255), {}
        return (pixels * 0 if fate == "black" else pixels.copy()), mask, {}

    monkeypatch.setattr(diffusion, "inpaint", fake)
    row, context = prepared(before, given, tmp_path)
    with pytest.raises(Rejected, match=message):
        editing.edit(row, context)
    assert len(set(seeds)) == 3


def test_the_second_attempt_may_succeed_and_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after, given = pictures()
    results = iter([before.copy(), after])
    monkeypatch.setattr(
        diffusion, "inpaint", lambda pixels, mask, *_: (next(results), mask, {"generator": "m"})
    )
    row, context = prepared(before, given, tmp_path)
    (made,) = editing.edit(row, context)
    assert made["attempt"] == 1
    assert made["changed_outside"] == 0
    assert made["masks"].keys() == {"requested", "given", "changed"}


def prepared(before: np.ndarray, given: np.ndarray, folder: Path) -> tuple[dict[str, Any], Context]:
    write_file(folder / "photos" / "a.png", png(before))
    write_file(folder / "masks" / "a.png", png(given))
    config = ForgeConfig(out=str(folder), photographs=str(folder / "photos"))
    config = dataclasses.replace(config, edit=EditConfig(method="inpaint", model="m"))
    row = {
        "id": "a-0",
        "photograph": "a",
        "path": "a.png",
        "mask": "masks/a.png",
        "mode": "object",
        "prompt": "a cat",
    }
    return row, Context(config, folder)
