"""Groups are never split, evaluation groups are never trained on, and every class gets the same treatment."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.picture_cache import build_cache, load_cache
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, hold_out, without_groups_of
from pixelsleuth.errors import UsageError
from pixelsleuth.forge.autoencoders import FILES, Autoencoder, load_autoencoder, regenerate, write_aligned
from pixelsleuth.forge.hard import HARD
from pixelsleuth.training.compact.fit import weights_of
from pixelsleuth.training.compact.mixture import REAL, SYNTHETIC, TAMPERED, Canvas, Mixture, load_aligned
from pixelsleuth.training.compact.settings import Steps
from pixelsleuth.training.compact.train_branches import batch_of, train_branch
from pixelsleuth.training.run.log import read_log


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 36 small pictures: two sources a class, six groups, one of which is also in `eval`."""
    folder = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    rows = ["path,split,label,mask,source,generator,tamper,group"]
    for index in range(36):
        label = ("real", "full_synthetic", "tampered")[index % 3]
        name = f"{label}-{index}.png"
        Image.fromarray(random.integers(0, 255, (200, 210, 3), dtype=np.uint8)).save(folder / name)
        mask = ""
        if label == "tampered":
            mask = f"mask-{index}.png"
            area = np.zeros((200, 210), np.uint8)
            area[60:150, 60:150] = 255
            Image.fromarray(area).save(folder / mask)
        rows.append(f"{name},train,{label},{mask},source-{index % 2},,,group-{index % 6}")
    rows.append("real-0.png,eval,real,,x,,,group-0")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def mixture(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    cache = tmp_path_factory.mktemp("cache")
    build_cache([corpus], cache)
    pictures = load_cache(cache)
    aligned = {p.name: 255 - np.asarray(p.pixels) for p in pictures if p.label == REAL}
    return Mixture(pictures, aligned, size=64, seed=1)


def test_evaluation_groups_are_left_out_and_groups_stay_whole(corpus: Path, tmp_path: Path) -> None:
    held = list(open_data(corpus, split="eval"))
    kept = without_groups_of(open_data(corpus, split="train"), held)
    assert kept
    assert all(sample.group != "group-0" for sample in kept)
    training, validation = hold_out(kept, share=0.4)
    assert not {s.group for s in training} & {s.group for s in validation}
    build_cache([corpus], tmp_path)
    assert len(load_cache(tmp_path)) == len(kept)


def test_sources_of_one_fold_stay_together_and_an_unknown_one_is_named(corpus: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources.yaml"
    sources.write_text("folds: [[source-0], [other]]\nmeasured: [source-1]\nunseen: [source-0]\n")
    build_cache([corpus], tmp_path, sources)
    folds = {(p.source, p.fold, p.unseen) for p in load_cache(tmp_path)}
    assert folds == {("source-0", 0, True), ("source-1", -1, False)}
    sources.write_text("folds: [[source-0]]\nunsen: [source-0]\n")
    with pytest.raises(UsageError, match="no setting unsen; did you mean unseen"):
        build_cache([corpus], tmp_path, sources)
    sources.write_text("folds: [[source-0]]\n")
    with pytest.raises(UsageError, match="'source-1' belongs to no fold"):
        build_cache([corpus], tmp_path, sources)


def test_files_without_a_group_stand_alone() -> None:
    samples = [Sample(Path(f"{i}.png"), Label.REAL) for i in range(200)]
    training, validation = hold_out(samples, share=0.25)
    assert 20 < len(validation) < 80
    assert len(training) + len(validation) == 200


@pytest.mark.parametrize("text", ["path\na.png\n", "path,label\na.png,fake\n"])
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UsageError):
        list(open_data(tmp_path / "m.csv"))


def test_every_canvas_has_its_size_and_only_tampered_ones_a_mask(mixture: Mixture) -> None:
    kinds = set()
    for index in range(90):
        canvas = mixture.canvas(index % 3, aligned=0.5)
        assert canvas.pixels.shape == (64, 64, 3)
        assert canvas.mask.shape == (64, 64)
        assert (canvas.label == TAMPERED) == bool(canvas.mask.any())
        assert (canvas.operation != "") or canvas.label != TAMPERED
        kinds.add((canvas.label, canvas.aligned))
    assert (SYNTHETIC, True) in kinds
    assert (SYNTHETIC, False) in kinds
    assert (REAL, True) not in kinds


def test_a_canvas_depends_on_its_generator_alone(mixture: Mixture) -> None:
    drawn = []
    for _ in range(2):
        mixture.random = np.random.default_rng([1, 2])
        drawn.append(mixture.canvas(TAMPERED))
    assert (drawn[0].pixels == drawn[1].pixels).all()
    assert (drawn[0].mask == drawn[1].mask).all()


def test_hard_cases_keep_the_size_and_change_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    for make in HARD:
        hard = make(pixels, np.random.default_rng(1))
        assert hard.shape == pixels.shape
        assert hard.dtype == np.uint8
        assert (hard != pixels).any()


def test_the_autoencoder_keeps_shape_for_any_size_and_its_copies_are_kept(
    corpus: Path, tmp_path: Path
) -> None:
    output = regenerate(Autoencoder().eval(), np.zeros((37, 50, 3), np.uint8))
    assert output.shape == (37, 50, 3)
    assert output.dtype == np.uint8
    build_cache([corpus], tmp_path / "cache")
    pictures = load_cache(tmp_path / "cache")
    write_aligned(torch.nn.Identity(), pictures, tmp_path / "aligned", count=3)
    aligned = load_aligned(tmp_path / "aligned", pictures)
    assert len(aligned) == 3
    by_name = {picture.name: picture for picture in pictures}
    assert all(by_name[name].label == REAL for name in aligned)
    assert all((by_name[name].pixels == pixels).all() for name, pixels in aligned.items())


def test_weights_of_another_autoencoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lacks taef2_encoder"):
        load_autoencoder(tmp_path)
    for name in FILES:
        torch.save({"0.weight": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(UsageError, match="does not hold TAEF2"):
        load_autoencoder(tmp_path)


@pytest.mark.parametrize("name", ["local", "repeat"])
def test_a_branch_that_was_stopped_goes_on_to_the_same_weights(
    name: str, mixture: Mixture, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_branch(name, mixture, whole, Steps(4, 2), every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixelsleuth.training.compact.train_branches.batch_of", _stops_at(3))
        with pytest.raises(KeyboardInterrupt):
            train_branch(name, mixture, broken, Steps(4, 2), every=2)
    train_branch(name, mixture, broken, Steps(4, 2), every=1)
    states = [weights_of(folder) for folder in (whole, broken)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    logs = [read_log(folder / "log.jsonl") for folder in (whole, broken)]
    assert [line["step"] for line in logs[1]] == [1, 2, 3, 4]
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    with pytest.raises(UsageError, match="steps differ"):
        train_branch(name, mixture, broken, Steps(5, 2))


def _stops_at(number: int) -> Callable[..., list[Canvas]]:
    """`batch_of` that a Ctrl-C ends at step `number`."""

    def stopping(mixture: Mixture, name: str, step: int, size: int) -> list[Canvas]:
        if step == number:
            raise KeyboardInterrupt
        return batch_of(mixture, name, step, size)

    return stopping
