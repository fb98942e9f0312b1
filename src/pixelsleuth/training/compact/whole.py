"""Stage 3: the whole head, a logistic regression over the description of each picture, once a fold left out.

`describe` makes a plain crop of every real and synthetic picture, and drawn ones, and keeps their descriptions; `fit`
learns one regression on all sources and one for each fold of sources without it. What a picture's description is worth
on sources that nobody trained on is what the regression without its fold says of it.

Run: `python -m pixelsleuth.training.compact.whole describe --cache runs/cache --lite LITE0.pth --out runs/whole`
then `python -m pixelsleuth.training.compact.whole fit --cache runs/cache --out runs/whole`
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pixelsleuth.data.cache import CachedPicture, load_cache
from pixelsleuth.data.equalise import EVALUATION
from pixelsleuth.forge.edits import Forgery
from pixelsleuth.models.compact.forensic import WholeHead
from pixelsleuth.training.compact.features import SIZE, Views, load_encoder
from pixelsleuth.training.compact.mixture import REAL, SYNTHETIC, TAMPERED, Canvas, Mixture

STRENGTH = 0.001
"""Inverse strength of the regression's ridge; by leave-a-fold-out AUROC (docs/training.md)."""


def drawn(mixture: Mixture, picture: CachedPicture, number: int, draw: int) -> Canvas:
    """Draw `draw` of the picture: 0 its middle with one JPEG pass, others a canvas as training draws them."""
    mixture.random = np.random.default_rng([77, draw, number])
    how = EVALUATION if draw == 0 else mixture._draw()
    if draw == 0:
        top, left = ((side - SIZE) // 2 for side in picture.pixels.shape[:2])
        pixels = np.ascontiguousarray(picture.pixels[top : top + SIZE, left : left + SIZE])
    else:
        pixels = mixture._cut(picture.pixels, mixture._need(how))
    return mixture._finish(
        Forgery(pixels, np.zeros(pixels.shape[:2], np.uint8), ""), how, picture.label, picture
    )


def describe(views: Views, pictures: list[CachedPicture], out: Path, *, draws: int) -> None:
    """Store `descriptions.npy` (N, D) float16 and `rows.npy` (N, 2): the picture's number, and the draw."""
    out.mkdir(parents=True, exist_ok=True)
    mixture = Mixture([picture for picture in pictures if picture.fold >= 0], {}, size=SIZE)
    wanted = [
        (number, draw)
        for draw in range(draws)
        for number, picture in enumerate(pictures)
        if picture.label != TAMPERED and picture.fold >= 0
    ]
    rows = []
    for done, (number, draw) in enumerate(wanted):
        canvas = drawn(mixture, pictures[number], number, draw)
        rows.append(views.describe(canvas.pixels[None])[0].astype(np.float16))
        if done % 500 == 0:
            print(f"{done} of {len(wanted)}", flush=True)
    np.save(out / "rows.npy", np.array(wanted))
    np.save(out / "descriptions.npy", np.stack(rows))


@dataclass
class Described:
    """Descriptions (N, D) with label, source and fold of each, and a weight that lets sources count by the
    square root of their size and both classes alike."""

    values: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    folds: np.ndarray
    draws: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        weights = np.zeros(len(self.labels))
        for source in set(self.sources):
            for label in (REAL, SYNTHETIC):
                members = (self.sources == source) & (self.labels == label)
                weights[members] = 1 / np.sqrt(max(1, members.sum()))
        for label in (REAL, SYNTHETIC):
            weights[self.labels == label] /= weights[self.labels == label].sum()
        return weights * len(weights) / 2


def load_described(folder: Path, pictures: list[CachedPicture]) -> Described:
    """What `describe` left."""
    rows = np.load(folder / "rows.npy")
    members = [pictures[number] for number in rows[:, 0]]
    values = np.load(folder / "descriptions.npy").astype(np.float32)
    labels, folds = np.array([p.label for p in members]), np.array([p.fold for p in members])
    return Described(values, labels, np.array([p.source for p in members]), folds, rows[:, 1])


def regress(described: Described, rows: np.ndarray, like: WholeHead, strength: float) -> WholeHead:
    """A whole head learnt on some rows, standardised as `like`."""
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


def fit(described: Described, strength: float, folds: set[int]) -> tuple[WholeHead, dict[int, WholeHead]]:
    """The head of all sources, and for each fold the one that never saw it."""
    standard = WholeHead(described.values.shape[1])
    standard.mean.copy_(torch.from_numpy(described.values.mean(0)))
    standard.deviation.copy_(torch.from_numpy(described.values.std(0) + 1e-3))
    every = np.ones(len(described.labels), bool)
    without = {
        int(fold): regress(described, described.folds != fold, standard, strength) for fold in sorted(folds)
    }
    return regress(described, every, standard, strength), without


@torch.no_grad()
def left_out(
    heads: dict[int, WholeHead], values: np.ndarray, folds: np.ndarray, everyone: WholeHead
) -> np.ndarray:
    """Logits (N,) of descriptions by the head that never saw their fold (fold -1: by that of all sources)."""
    logits = np.zeros(len(values), np.float32)
    for fold in set(folds.tolist()):
        rows = folds == fold
        head = heads.get(fold, everyone)
        logits[rows] = head(torch.from_numpy(values[rows].astype(np.float32)))[:, 0].numpy()
    return logits


def load_heads(folder: Path) -> tuple[WholeHead, dict[int, WholeHead]]:
    """What `fit` left in `folder`."""
    from safetensors.torch import load_file

    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "whole.safetensors").items():
        name, _, rest = key.partition(".")
        states.setdefault(name, {})[rest] = value
    heads = {}
    for name, state in states.items():
        heads[name] = WholeHead(len(state["mean"]))
        heads[name].load_state_dict(state)
    return heads.pop("all"), {int(name): head for name, head in heads.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("describe", "fit"))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lite", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--strength", type=float, default=STRENGTH)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures = load_cache(options.cache)
    if options.step == "describe":
        encoder = load_encoder(options.out, options.lite, ())
        describe(Views(encoder, ("look", "statistics")), pictures, options.out, draws=options.draws)
        return
    from safetensors.torch import save_file
    from sklearn.metrics import roc_auc_score

    described = load_described(options.out, pictures)
    everyone, without = fit(described, options.strength, {p.fold for p in pictures if p.fold >= 0})
    logits = left_out(without, described.values, described.folds, everyone)
    plain = described.draws == 0
    figures = {"auroc_folds_left_out": float(roc_auc_score(described.labels[plain], logits[plain]))}
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print(figures)
    named = {"all": everyone, **{str(fold): head for fold, head in without.items()}}
    state = {f"{name}.{k}": v for name, head in named.items() for k, v in head.state_dict().items()}
    save_file(state, options.out / "whole.safetensors")


if __name__ == "__main__":
    main()
