"""The whole head: a logistic regression over the description of each picture, on all sources and without each fold.

`describe` crops every real and synthetic picture, once plainly and otherwise as training draws, and stores the
descriptions. The regression without a picture's fold tells what its description is worth on sources that nobody
trained on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pixelsleuth.core.io import replaced
from pixelsleuth.core.progress import progress
from pixelsleuth.data.equalise import EVALUATION
from pixelsleuth.data.picture_cache import CachedPicture, load_cache
from pixelsleuth.forge.edits import Forgery
from pixelsleuth.models.compact.forensic import WholeHead
from pixelsleuth.training.compact.feature_shards import SIZE, Views, load_encoder
from pixelsleuth.training.compact.mixture import REAL, SYNTHETIC, TAMPERED, Canvas, Mixture
from pixelsleuth.training.compact.settings import CompactRecipe


def describe_stage(recipe: CompactRecipe) -> None:
    """Store the descriptions of the cached pictures in `whole`."""
    views = Views(load_encoder(recipe, ()), ("look", "statistics"))
    describe(views, load_cache(recipe.folder("cache")), recipe.folder("whole"), draws=recipe.whole.draws)


def whole_stage(recipe: CompactRecipe) -> None:
    """Fit the regressions on the stored descriptions; leaves `whole/whole.safetensors` and `whole/figures.json`."""
    from safetensors.torch import save_file
    from sklearn.metrics import roc_auc_score

    out, pictures = recipe.folder("whole"), load_cache(recipe.folder("cache"))
    described = load_described(out, pictures)
    folds = {picture.fold for picture in pictures if picture.fold >= 0}
    everyone, without = fit_heads(described, recipe.whole.strength, folds)
    logits = logits_left_out(without, described.values, described.folds, everyone)
    plain = described.draws == 0
    figures = {"auroc_folds_left_out": float(roc_auc_score(described.labels[plain], logits[plain]))}
    (out / "figures.json").write_text(json.dumps(figures, indent=1))
    heads = {"all": everyone, **{str(fold): head for fold, head in without.items()}}
    state = {
        f"{name}.{key}": value for name, head in heads.items() for key, value in head.state_dict().items()
    }
    with replaced(out / "whole.safetensors") as part:
        save_file(state, part)


def crop_of(mixture: Mixture, picture: CachedPicture, number: int, draw: int) -> Canvas:
    """Draw 0 of a picture is its middle with one JPEG pass; the others are canvases as training draws them."""
    mixture.random = np.random.default_rng([77, draw, number])
    if draw == 0:
        how = EVALUATION
        top, left = ((side - SIZE) // 2 for side in picture.pixels.shape[:2])
        pixels = np.ascontiguousarray(picture.pixels[top : top + SIZE, left : left + SIZE])
    else:
        how = mixture.draw()
        pixels = mixture.cut(picture.pixels, mixture.side_before(how))
    return mixture.finish(
        Forgery(pixels, np.zeros(pixels.shape[:2], np.uint8), ""), how, picture.label, picture
    )


def describe(views: Views, pictures: list[CachedPicture], out: Path, *, draws: int) -> None:
    """Write `descriptions.npy` (N, D) float16 and `rows.npy` (N, 2): the picture's number, and the draw's."""
    out.mkdir(parents=True, exist_ok=True)
    mixture = Mixture([picture for picture in pictures if picture.fold >= 0], {}, size=SIZE)
    crops = [
        (number, draw)
        for draw in range(draws)
        for number, picture in enumerate(pictures)
        if picture.label != TAMPERED and picture.fold >= 0
    ]
    descriptions = []
    with progress("descriptions", len(crops)) as bar:
        for number, draw in crops:
            canvas = crop_of(mixture, pictures[number], number, draw)
            descriptions.append(views.describe(canvas.pixels[None])[0].astype(np.float16))
            bar()
    np.save(out / "rows.npy", np.array(crops))
    with replaced(out / "descriptions.npy") as part, part.open("wb") as handle:
        np.save(handle, np.stack(descriptions))


@dataclass
class Described:
    """Descriptions (N, D) with the label, source, fold and draw of each (N,)."""

    values: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    folds: np.ndarray
    draws: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """(N,): sources count by the square root of their size, both classes alike."""
        weights = np.zeros(len(self.labels))
        for source in set(self.sources):
            for label in (REAL, SYNTHETIC):
                members = (self.sources == source) & (self.labels == label)
                weights[members] = 1 / np.sqrt(max(1, members.sum()))
        for label in (REAL, SYNTHETIC):
            weights[self.labels == label] /= weights[self.labels == label].sum()
        return weights * len(weights) / 2


def load_described(folder: Path, pictures: list[CachedPicture]) -> Described:
    """The descriptions that `describe` wrote to `folder`."""
    rows = np.load(folder / "rows.npy")
    members = [pictures[number] for number in rows[:, 0]]
    values = np.load(folder / "descriptions.npy").astype(np.float32)
    labels, folds = np.array([p.label for p in members]), np.array([p.fold for p in members])
    return Described(values, labels, np.array([p.source for p in members]), folds, rows[:, 1])


def regress(described: Described, rows: np.ndarray, like: WholeHead, strength: float) -> WholeHead:
    """A whole head fitted to some rows, with the mean and deviation of `like`."""
    from sklearn.linear_model import LogisticRegression

    standard = ((described.values[rows] - like.mean.numpy()) / like.deviation.numpy()).clip(-5, 5)
    model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
    model.fit(standard, described.labels[rows], sample_weight=described.weights[rows])
    head = WholeHead(described.values.shape[1])
    head.mean.copy_(like.mean)
    head.deviation.copy_(like.deviation)
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(model.coef_).float())
        head.linear.bias.copy_(torch.from_numpy(model.intercept_).float())
    return head


def fit_heads(
    described: Described, strength: float, folds: set[int]
) -> tuple[WholeHead, dict[int, WholeHead]]:
    """The head of all sources, and for each fold the head that never saw it."""
    standard = WholeHead(described.values.shape[1])
    standard.mean.copy_(torch.from_numpy(described.values.mean(0)))
    standard.deviation.copy_(torch.from_numpy(described.values.std(0) + 1e-3))
    every = np.ones(len(described.labels), bool)
    without = {
        int(fold): regress(described, described.folds != fold, standard, strength) for fold in sorted(folds)
    }
    return regress(described, every, standard, strength), without


@torch.no_grad()
def logits_left_out(
    heads: dict[int, WholeHead], values: np.ndarray, folds: np.ndarray, everyone: WholeHead
) -> np.ndarray:
    """Logits (N,) of descriptions (N, D) by the head that never saw their fold; by `everyone` for fold -1."""
    logits = np.zeros(len(values), np.float32)
    for fold in set(folds.tolist()):
        rows = folds == fold
        head = heads.get(fold, everyone)
        logits[rows] = head(torch.from_numpy(values[rows].astype(np.float32)))[:, 0].numpy()
    return logits


def load_heads(folder: Path) -> tuple[WholeHead, dict[int, WholeHead]]:
    """The head of all sources, and the heads by the fold that they never saw, as `whole_stage` wrote them."""
    from safetensors.torch import load_file

    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "whole.safetensors").items():
        name, _, part = key.partition(".")
        states.setdefault(name, {})[part] = value
    heads = {}
    for name, state in states.items():
        heads[name] = WholeHead(len(state["mean"]))
        heads[name].load_state_dict(state)
    return heads.pop("all"), {int(name): head for name, head in heads.items()}
