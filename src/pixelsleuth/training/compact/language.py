"""Stage 5: tokens, language model, class and mask, on cached features; and the class alone with folds left out.

The encoder's views and dense features stay as they are. The whole head's logit of every canvas comes from the head that
never saw the canvas' fold, so that the language model learns how far that head can be trusted.

Run: `python -m pixelsleuth.training.compact.language full --encoder runs/masks/encoder.pt --features runs/features/*
--whole runs/whole --out runs/compact --steps 2000`, and with `folds` in the place of `full` for the models that the
decision is measured with.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.models.compact.compact_sida import (
    CLS_AT,
    IGNORE,
    PROMPT,
    CompactSida,
    compact_config,
    save_compact,
    target_rows,
)
from pixelsleuth.models.compact.forensic import ForensicEncoder
from pixelsleuth.models.sida_core import Answer, Fusion, QueryMaskDecoder
from pixelsleuth.training.compact.features import CHUNK, Features, load_features
from pixelsleuth.training.compact.masks import dense_batch, pixel_f1, seen_masks
from pixelsleuth.training.compact.mixture import TAMPERED
from pixelsleuth.training.compact.schedule import Fit, fit_steps
from pixelsleuth.training.compact.whole import left_out, load_heads

SMOOTHING = 0.02
"""Label smoothing of the class."""
MASK = 1.0
"""Weight of the mask's loss; the other two count 1 (equation 6)."""
DROPPED = 0.4
"""Share of the values that enter the tokens, but for the whole head's logit, that a step of training does not see."""
WATCHED = 256
"""Canvases on which the log's figures are measured."""


@torch.no_grad()
def see(encoder: ForensicEncoder, features: Features, *, dense: bool) -> None:
    """Add to the features what enters the tokens, `cells` and `summarised`, and the `dense` features where asked."""
    encoder.eval()
    names = ("cells", "summarised", "dense") if dense else ("cells", "summarised")
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for first in range(0, len(features), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(features)))
        seen = dense_batch(encoder, features, rows)
        mask = encoder.plain_mask(seen)
        values = {
            "cells": encoder.cells(seen, mask),
            "summarised": encoder.summarised(seen, mask),
            "dense": seen,
        }
        for name in kept:
            kept[name].append(values[name].half().numpy())
    features.extra |= {name: np.concatenate(parts) for name, parts in kept.items()}


def tokens_batch(model: CompactSida, features: Features, rows: np.ndarray) -> Tensor:
    """Tokens of some rows; in training much of what the mask's features say is dropped, so that their few thousand
    canvases are not known by heart."""
    whole, drops = features.batch("whole", rows)[:, None], model.sida.training
    cells, summarised = (
        F.dropout(features.batch(name, rows), DROPPED, drops) for name in ("cells", "summarised")
    )
    return model.encoder.tokens(cells, summarised, whole)


def classes_batch(model: CompactSida, features: Features, rows: np.ndarray) -> Tensor:
    """Class logits (B, 3) of some rows: the prompt alone is read."""
    ids = torch.tensor(PROMPT).expand(len(rows), -1)
    hidden = model.sida.hidden_states(tokens_batch(model, features, rows), model.prefix, ids)
    return model.sida.detection(hidden[:, CLS_AT])


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy with a little smoothing."""
    return F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)


@torch.no_grad()
def class_figures(model: CompactSida, features: Features, rows: np.ndarray) -> dict[str, float]:
    """Balanced accuracy, and AUROC of synthetic and of tampered against real by their logit less real's."""
    from sklearn.metrics import roc_auc_score

    model.eval()
    logits = torch.cat(
        [classes_batch(model, features, part) for part in np.array_split(rows, 1 + len(rows) // 128)]
    )
    labels, predicted = features.labels[rows], logits.argmax(1).numpy()
    recalls = [float((predicted[labels == c] == c).mean()) for c in sorted(set(labels.tolist()))]
    figures = {"balanced_accuracy": float(np.mean(recalls))}
    for name, c in (("synthetic", 1), ("tampered", 2)):
        kept = (labels == 0) | (labels == c)
        if len(set(labels[kept].tolist())) == 2:
            score = (logits[:, c] - logits[:, 0]).numpy()[kept]
            figures[f"auroc_{name}"] = float(roc_auc_score(labels[kept] == c, score))
    return {name: round(value, 4) for name, value in figures.items()}


def learning(model: CompactSida) -> list[nn.Parameter]:
    """What this stage trains: everything behind the dense features and the whole head."""
    model.requires_grad_(False)
    parts = [model.encoder.grid_token, model.encoder.summary, model.sida]
    for part in parts:
        part.requires_grad_(True)
    return [p for part in parts for p in part.parameters()]


def train_classes(
    model: CompactSida, features: Features, rows: np.ndarray, fold: int, out: Path, how: Fit
) -> None:
    """The class alone, on those `rows` that are of other folds; the figures in the log are those of the fold
    left out."""
    parameters = learning(model)
    labels, left = torch.from_numpy(features.labels), features.folds[rows] == fold

    def loss_of(chosen: np.ndarray) -> Tensor:
        model.sida.train()
        return class_loss(classes_batch(model, features, chosen), labels[chosen])

    fit_steps(
        model, parameters, loss_of, lambda: class_figures(model, features, rows[left]), rows=rows[~left],
        out=out, how=how, name=f"fold-{fold}",
    )  # fmt: skip


def start_mask(model: CompactSida) -> None:
    """Let the mask decoder begin where the plain mask ended."""
    decoder = model.sida.decoder
    assert isinstance(decoder, QueryMaskDecoder)
    assert model.encoder.plain_mask.bias is not None
    with torch.no_grad():
        decoder.base.weight.copy_(model.encoder.plain_mask.weight.flatten(1))
        decoder.base.bias.copy_(model.encoder.plain_mask.bias)


def train_all(
    model: CompactSida, features: Features, out: Path, how: Fit, rows: np.ndarray, name: str
) -> None:
    """Text, class and mask at once (equation 6)."""
    parameters = learning(model)
    ids, targets, seg_at = target_rows(features.records)
    labels = torch.from_numpy(features.labels)

    def answer(chosen: np.ndarray) -> Answer:
        tokens = tokens_batch(model, features, chosen)
        return model.answer(tokens, features.batch("dense", chosen), ids[chosen], seg_at[chosen])

    def loss_of(chosen: np.ndarray) -> Tensor:
        model.sida.train()
        output = answer(chosen)
        text = F.cross_entropy(output.text.flatten(0, 1), targets[chosen].flatten(), ignore_index=IGNORE)
        mask = seen_masks(output.mask, features.batch("mask", chosen), labels[chosen])
        return text + class_loss(output.classes, labels[chosen]) + MASK * mask

    @torch.no_grad()
    def check() -> dict[str, Any]:
        chosen = np.sort(np.random.default_rng(0).permutation(rows)[:WATCHED])
        figures = class_figures(model, features, chosen)
        output, said = answer(chosen), targets[chosen] != IGNORE
        tampered = labels[chosen] == TAMPERED
        f1 = pixel_f1(output.mask[tampered], features.batch("mask", chosen)[tampered])
        words = (output.text.argmax(-1)[said] == targets[chosen][said]).float().mean()
        return figures | {"f1": round(float(np.mean(f1)), 4), "words": round(float(words), 4)}

    fit_steps(model, parameters, loss_of, check, rows=rows, out=out, how=how, name=name)
    model.eval()


def load_model(encoder: Path, fusion: Fusion = "tokens") -> CompactSida:
    """A compact SIDA with the encoder that stage 4 left; the rest is untrained."""
    torch.manual_seed(0)
    seen = ForensicEncoder()
    seen.load_state_dict(torch.load(encoder, weights_only=True))
    model = CompactSida(seen, compact_config(seen.config, fusion))
    start_mask(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("full", "folds"))
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    for name in ("encoder", "whole", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--folds", type=int, nargs="*", help="these alone")
    parser.add_argument("--fusion", choices=("tokens", "attention", "none", "linear"), default="tokens")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    features, how = load_features(options.features), Fit(options.steps, options.batch, options.rate)
    everyone, without = load_heads(options.whole)
    # An aligned fake looks like the photograph that it was: as part of the class it teaches distrust of the whole head.
    usable = np.flatnonzero([not record["aligned"] for record in features.records])
    described = np.concatenate([shard["description"] for shard in features.shards])
    features.extra["whole"] = left_out(without, described, features.folds, everyone)
    model = load_model(options.encoder, options.fusion)
    see(model.encoder, features, dense=options.what == "full")
    if options.what == "full":
        train_all(model, features, options.out, how, usable, "full")
        model.encoder.whole.load_state_dict(everyone.state_dict())
        save_compact(model, options.out)
        return
    for fold in options.folds or sorted(set(features.folds.tolist())):
        train_classes(load_model(options.encoder, options.fusion), features, usable, fold, options.out, how)
    (options.out / "finished").touch()


if __name__ == "__main__":
    main()
