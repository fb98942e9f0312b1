"""Groups are never split, evaluation groups are never trained on, and every class gets the same treatment."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.errors import UsageError
from pixelsleuth.core.verdict import Label
from pixelsleuth.data.cache import build_cache, load_cache
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample, hold_out, without_groups_of
from pixelsleuth.forge.autoencoders import FAMILY, Autoencoder, regenerate
from pixelsleuth.training.branches import branch_loss, train_branch
from pixelsleuth.training.mixture import REAL, SYNTHETIC, TAMPERED, Mixture


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
    build_cache(corpus, cache)
    pictures = load_cache(cache, "train") + load_cache(cache, "validation")
    family = [Autoencoder(FAMILY["nearest4"]).eval(), Autoencoder(FAMILY["shuffle2"]).eval()]
    return Mixture(pictures, family, size=64, seed=1)


def test_evaluation_groups_are_left_out_and_groups_stay_whole(corpus: Path, tmp_path: Path) -> None:
    held = list(open_data(corpus, split="eval"))
    kept = without_groups_of(open_data(corpus, split="train"), held)
    assert kept
    assert all(sample.group != "group-0" for sample in kept)
    training, validation = hold_out(kept, share=0.4)
    assert not {s.group for s in training} & {s.group for s in validation}
    build_cache(corpus, tmp_path)
    assert len(load_cache(tmp_path, "train")) + len(load_cache(tmp_path, "validation")) == len(kept)


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
    seen = set()
    for index in range(90):
        canvas = mixture.canvas(index % 3)
        assert canvas.pixels.shape == (64, 64, 3)
        assert canvas.mask.shape == (64, 64)
        assert (canvas.label == TAMPERED) == bool(canvas.mask.any())
        assert (canvas.operation != "") or canvas.label != TAMPERED
        seen.add((canvas.label, canvas.aligned))
    assert (SYNTHETIC, True) in seen
    assert (SYNTHETIC, False) in seen
    assert (REAL, True) not in seen


def test_an_autoencoder_keeps_shape_for_any_size() -> None:
    for config in FAMILY.values():
        output = regenerate(Autoencoder(config).eval(), np.zeros((37, 50, 3), np.uint8))
        assert output.shape == (37, 50, 3)
        assert output.dtype == np.uint8


@pytest.mark.parametrize("name", ["local", "repeat", "texture"])
def test_a_branch_trains_and_resumes(name: str, mixture: Mixture, tmp_path: Path) -> None:
    import torch

    settings = {"batch": 4, "rate": 1e-3, "aligned": 0.5}
    train_branch(name, mixture, tmp_path, seconds=0.5, **settings)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    train_branch(name, mixture, tmp_path, seconds=first["spent"] + 0.5, **settings)
    second = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert second["step"] > first["step"] > 0
    assert all(torch.isfinite(value).all() for value in second["model"].values())


def test_the_texture_loss_is_finite_for_any_batch(mixture: Mixture) -> None:
    from pixelsleuth.training.branches import BRANCHES

    model = BRANCHES["texture"]()
    for labels in ([REAL] * 4, [REAL, SYNTHETIC, SYNTHETIC, REAL]):
        assert branch_loss("texture", model, [mixture.canvas(label) for label in labels]).isfinite()
