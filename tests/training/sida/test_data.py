"""Balanced batches by number, the same after a resume; sets that cannot be learnt from are refused."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pixelsleuth.errors import UsageError
from pixelsleuth.training.run.data import gather
from pixelsleuth.training.run.feed import Draw, Loader, Sampler
from pixelsleuth.training.sida.settings import SidaSettings
from pixelsleuth.training.sida.step import measured, words

Tiny = Callable[..., SidaSettings]


def rewritten(
    manifest: Path, folder: Path, change: Callable[[dict[str, str]], dict[str, str] | None]
) -> Path:
    """A copy of the manifest with changed rows; pictures are named where they lie."""
    rows = []
    for row in csv.DictReader(manifest.open()):
        new = change(dict(row))
        if new is not None:
            rows.append(new)
    path = manifest.parent / f"{folder.name}.csv"
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_mixed_batches_hold_every_class_alike_and_see_every_picture(tiny: Tiny) -> None:
    config = tiny("global_batch=6")
    sampler = Sampler(gather(config), config)
    draws: Counter[tuple[int, int]] = Counter()
    for _ in range(8):
        batch = sampler.next()
        assert Counter(draw.label for draw in batch) == {0: 2, 1: 2, 2: 2}
        draws.update((draw.label, draw.place) for draw in batch)
    assert set(draws.values()) == {2}  # 48 draws of 24 pictures
    assert len(draws) == 24


def test_classes_stay_balanced_where_the_batch_is_no_multiple_of_three(tiny: Tiny) -> None:
    config = tiny("global_batch=4", "per_device=2")
    sampler = Sampler(gather(config), config)
    labels = Counter(draw.label for _ in range(6) for draw in sampler.next())
    assert labels == {0: 8, 1: 8, 2: 8}


def test_grouped_micro_batches_hold_one_class(tiny: Tiny) -> None:
    config = tiny("batches=grouped", "global_batch=6", "per_device=2")
    sampler = Sampler(gather(config), config)
    for _ in range(4):
        labels = [draw.label for draw in sampler.next()]
        assert all(a == b for a, b in zip(labels[::2], labels[1::2], strict=True))


@pytest.mark.parametrize("batches", ["mixed", "grouped", "natural"])
def test_a_restored_sampler_goes_on_as_if_nothing_had_happened(tiny: Tiny, batches: str) -> None:
    config = tiny(f"batches={batches}", "global_batch=5", "per_device=2")
    material = gather(config)
    whole, halves = Sampler(material, config), Sampler(material, config)
    expected = [whole.next() for _ in range(20)]
    first = [halves.next() for _ in range(9)]
    again = Sampler(material, config)
    again.restore(halves.state())
    assert first + [again.next() for _ in range(11)] == expected


def test_a_mixture_follows_its_weights(tiny: Tiny, manifest: Path) -> None:
    config = tiny(
        f"data=[{{path: {manifest}, weight: 3}}, {{path: {manifest}, weight: 1}}]", "global_batch=30"
    )
    sampler = Sampler(gather(config), config)
    chosen = Counter(draw.chosen for _ in range(20) for draw in sampler.next())
    assert 0.7 < chosen[0] / 600 < 0.8


def test_an_example_depends_on_its_number_alone(tiny: Tiny) -> None:
    config = tiny("equalise=random")
    loader = Loader(gather(config), config)
    first, other = (loader.example(Draw(n, 0, 2, 1)) for n in (7, 8))
    again = Loader(gather(config), config).example(Draw(7, 0, 2, 1))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.pixels.shape != other.pixels.shape or not np.array_equal(first.pixels, other.pixels)
    assert first.mask is not None
    assert first.mask.shape == first.pixels.shape[:2]
    assert set(np.unique(first.mask)) <= {0, 255}


def test_a_broken_picture_is_replaced_and_counted(tiny: Tiny, manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    rows = []

    def change(row: dict[str, str]) -> dict[str, str]:
        rows.append(row)
        return row | ({"path": "broken.png"} if len(rows) == 1 else {})

    config = tiny(f"data={rewritten(manifest, tmp_path, change)}")
    loader = Loader(gather(config), config)
    assert loader.example(Draw(0, 0, 0, 0)).pixels.shape == (96, 96, 3) or loader.failed
    assert list(loader.failed) == [str(manifest.parent / "broken.png")]


@pytest.mark.parametrize(
    "change,overrides,message",
    [
        (lambda row: row if row["label"] != "real" else None, [], "no usable picture of the class real"),
        (lambda row: row | {"mask": ""}, [], "No tampered picture of the data has a mask"),
        (lambda row: row | {"description": ""}, ["stage=2"], "of the class real.*no description"),
        (lambda row: row | {"label": "maybe"}, [], "unknown label 'maybe'"),
        (lambda row: row, ["validation={every: 2, hold_out: 0.01}"], "validation pictures lack a class"),
        (lambda row: row, ["augment=[blurr:3]"], "perturbation"),
    ],
    ids=["class", "masks", "texts", "label", "validation", "augment"],
)
def test_sets_that_cannot_be_learnt_from_are_refused(
    tiny: Tiny, manifest: Path, tmp_path: Path, change: Callable, overrides: list[str], message: str
) -> None:
    config = tiny(f"data={rewritten(manifest, tmp_path, change)}", *overrides)
    with pytest.raises(UsageError, match=message):
        Loader(gather(config), config)


def test_augmentation_is_that_of_the_evaluation_and_masks_follow_it(tiny: Tiny) -> None:
    config = tiny("augment=[resize:0.5]", "augment_share=1", "equalise=off")
    example = Loader(gather(config), config).example(Draw(0, 0, 2, 0))
    assert example.pixels.shape == (48, 48, 3)
    assert example.mask is not None
    assert example.mask.shape == (48, 48)
    assert 350 < (example.mask > 0).sum() < 450  # a square of 40 px, halved


def test_what_is_measured_stands_in_for_a_missing_description(
    tiny: Tiny, manifest: Path, tmp_path: Path
) -> None:
    """True by construction: place and size from the mask, noise and detail from the pixels."""
    bare = rewritten(manifest, tmp_path, lambda row: row | {"description": ""})
    config = tiny(f"data={bare}", "stage=2", "descriptions=measured", "equalise=off")
    loader = Loader(gather(config), config)
    pictures = [loader.example(Draw(0, 0, label, 0)) for label in range(3)]
    texts = [measured(picture.sample.label, picture.pixels, picture.mask) for picture in pictures]
    answers = [words(2, picture.label, text)[1] for picture, text in zip(pictures, texts, strict=True)]
    assert re.search(r"^\[CLS\] The image is real .*noise", answers[0])
    assert re.search(r"\[SEG\] In the [a-z ]+, 10 to 2\d % of the picture was changed\. \[END\]$", answers[2])


def test_held_out_groups_are_not_trained_on(tiny: Tiny) -> None:
    config = tiny("validation={every: 2, hold_out: 0.4}")
    material = gather(config)
    trained = {sample.group for classes in material.sets for rows in classes for sample in rows}
    assert not trained & {sample.group for sample in material.validation}
    assert len(trained) + len(material.validation) == 24


def test_stage_two_says_the_class_and_then_why() -> None:
    question, answer = words(2, 2, "A  patch\nwas pasted.")
    assert question.endswith("and answer why.")
    assert answer == "[CLS] The image is tampered [SEG] A patch was pasted. [END]"
    assert words(1, 0, "unused")[1] == "[CLS] The image is real"
