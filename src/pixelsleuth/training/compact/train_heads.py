"""Trains the heads on stored features: the plain mask, then tokens, language model, class and mask.

The views stay as they are. `masks` joins them into dense features and a plain mask, measured on sources that the
branches never saw. `folds` learns the class once without each fold, `language` class, mask and text on all sources.

The whole head's logit of a canvas comes from the head that never saw the canvas' fold, so that the language model
learns how far that head can be trusted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.io import replaced
from pixelsleuth.data.picture_cache import load_cache
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
from pixelsleuth.models.mask_losses import dice_loss
from pixelsleuth.models.sida_core import Answer, QueryMaskDecoder
from pixelsleuth.training.compact.feature_shards import CHUNK, Features, load_encoder, load_features
from pixelsleuth.training.compact.fit import fit, rows_at
from pixelsleuth.training.compact.mixture import TAMPERED
from pixelsleuth.training.compact.settings import CompactRecipe, Steps
from pixelsleuth.training.compact.whole_head import load_heads, logits_left_out

AUTHENTIC = 2.0
"""Weight of an empty mask's cross entropy on authentic canvases."""
SMOOTHING = 0.02
"""Label smoothing of the class."""
MASK = 1.0
"""Weight of the mask's loss; the other two count 1 (equation 6)."""
DROPPED = 0.4
"""Share of the values that enter the tokens, the whole head's logit excepted, that a training step does not see."""
WATCHED = 256
"""Canvases on which the log's figures are measured."""


def mask_stage(recipe: CompactRecipe) -> None:
    """Train `shallow`, `mix` and `plain_mask` of the encoder and leave it as `masks/encoder.pt`."""
    torch.manual_seed(0)
    out = recipe.folder("masks")
    unseen = {picture.source for picture in load_cache(recipe.folder("cache")) if picture.unseen}
    features = load_features(recipe.shards)
    encoder = load_encoder(recipe)
    held = np.array([record["source"] in unseen for record in features.records])
    rows = np.arange(len(features))
    labels = torch.from_numpy(features.labels)
    encoder.requires_grad_(False)
    parts = {"shallow": encoder.shallow, "mix": encoder.mix, "plain": encoder.plain_mask}
    learning = torch.nn.ModuleDict(parts).requires_grad_(True)

    def loss_of(step: int) -> Tensor:
        learning.train()
        chosen = rows_at(step, rows[~held], recipe.masks.batch)
        logits = encoder.plain_mask(dense_batch(encoder, features, chosen))
        return masks_loss(logits, features.batch("mask", chosen), labels[chosen])

    fit(learning, loss_of, recipe.masks, out, figures=lambda: mask_figures(encoder, features, rows[held]))
    with replaced(out / "encoder.pt") as part:
        torch.save(encoder.eval().state_dict(), part)


def masks_loss(logits: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy and Dice of tampered canvases' masks, plus the weighted cross entropy of an empty mask on the
    others; logits and masks (B, 1, h, w), labels (B,)."""
    tampered, loss = labels == TAMPERED, logits.new_zeros(())
    if tampered.any():
        entropy = F.binary_cross_entropy_with_logits(logits[tampered], masks[tampered])
        loss = loss + entropy + dice_loss(logits[tampered], masks[tampered], smooth=1.0)
    if (~tampered).any():
        loss = loss + AUTHENTIC * F.binary_cross_entropy_with_logits(logits[~tampered], masks[~tampered])
    return loss


def pixel_f1(logits: Tensor, masks: Tensor) -> list[float]:
    """F1 of each mask at logit 0; logits and masks (B, 1, h, w)."""
    predicted, truth = logits.flatten(1) > 0, masks.flatten(1) > 0.5
    both = (predicted & truth).sum(1)
    return (2 * both / (predicted.sum(1) + truth.sum(1)).clamp_min(1)).tolist()


def dense_batch(encoder: ForensicEncoder, features: Features, rows: np.ndarray) -> Tensor:
    """Dense features (B, C, h, w) of some rows."""
    maps = [features.batch(name, rows) for name in ("map4", "map8", "map16")]
    return encoder.dense_of(features.batch("local", rows), features.batch("repeats", rows), maps)


@torch.no_grad()
def mask_figures(encoder: ForensicEncoder, features: Features, rows: np.ndarray) -> dict[str, float]:
    """Of the plain mask at logit 0: `f1`, the mean over tampered canvases, and `alarm`, the mean area marked on
    authentic ones."""
    encoder.eval()
    f1, alarms = [], []
    for first in range(0, len(rows), CHUNK):
        part = rows[first : first + CHUNK]
        logits, masks = encoder.plain_mask(dense_batch(encoder, features, part)), features.batch("mask", part)
        tampered = torch.from_numpy(features.labels[part] == TAMPERED)
        f1 += pixel_f1(logits[tampered], masks[tampered])
        alarms += (logits[~tampered] > 0).float().mean(dim=(1, 2, 3)).tolist()
    return {"f1": round(float(np.mean(f1)), 4), "alarm": round(float(np.mean(alarms)), 4)}


def fold_stage(recipe: CompactRecipe) -> None:
    """Train the class once without each fold, each in `folds/fold-N`."""
    out = recipe.folder("folds")
    features, rows = usable_features(recipe)
    add_tokens(load_model(recipe).encoder, features, dense=False)
    for fold in sorted(set(features.folds.tolist())):
        train_classes(load_model(recipe), features, rows, fold, out / f"fold-{fold}", recipe.folds)
    (out / "finished").touch()


def language_stage(recipe: CompactRecipe) -> None:
    """Train class, mask and text on all sources; leaves a compact checkpoint in `compact`."""
    out = recipe.folder("compact")
    features, rows = usable_features(recipe)
    model = load_model(recipe)
    add_tokens(model.encoder, features, dense=True)
    train_all(model, features, rows, out, recipe.language)
    everyone, _ = load_heads(recipe.folder("whole"))
    model.encoder.whole.load_state_dict(everyone.state_dict())
    save_compact(model, out)


def usable_features(recipe: CompactRecipe) -> tuple[Features, np.ndarray]:
    """The stored features with the whole head's logits as `whole`, and the rows that are learnt from.

    An aligned fake looks like the photograph that it was: as part of the class it teaches distrust of the whole head.
    """
    features = load_features(recipe.shards)
    everyone, without = load_heads(recipe.folder("whole"))
    described = np.concatenate([shard["description"] for shard in features.shards])
    features.extra["whole"] = logits_left_out(without, described, features.folds, everyone)
    return features, np.flatnonzero([not record["aligned"] for record in features.records])


def load_model(recipe: CompactRecipe) -> CompactSida:
    """A compact SIDA with the encoder that the stage `masks` left; everything else is untrained."""
    torch.manual_seed(0)
    encoder = ForensicEncoder()
    encoder.load_state_dict(torch.load(recipe.folder("masks") / "encoder.pt", weights_only=True))
    model = CompactSida(encoder, compact_config(encoder.config, recipe.fusion))
    start_mask(model)
    return model


def start_mask(model: CompactSida) -> None:
    """Let the mask decoder begin where the plain mask ended."""
    decoder = model.sida.decoder
    assert isinstance(decoder, QueryMaskDecoder)
    assert model.encoder.plain_mask.bias is not None
    with torch.no_grad():
        decoder.base.weight.copy_(model.encoder.plain_mask.weight.flatten(1))
        decoder.base.bias.copy_(model.encoder.plain_mask.bias)


@torch.no_grad()
def add_tokens(encoder: ForensicEncoder, features: Features, *, dense: bool) -> None:
    """Add what the tokens are made of, `cells` and `summarised`, and with `dense` the dense features."""
    encoder.eval()
    names = ("cells", "summarised", "dense") if dense else ("cells", "summarised")
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for first in range(0, len(features), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(features)))
        maps = dense_batch(encoder, features, rows)
        mask = encoder.plain_mask(maps)
        values = {
            "cells": encoder.cells(maps, mask),
            "summarised": encoder.summarised(maps, mask),
            "dense": maps,
        }
        for name in kept:
            kept[name].append(values[name].half().numpy())
    features.extra |= {name: np.concatenate(parts) for name, parts in kept.items()}


def tokens_batch(model: CompactSida, features: Features, rows: np.ndarray) -> Tensor:
    """Tokens of some rows; training drops much of the mask's features, so that it does not learn a few thousand
    canvases by heart."""
    whole, drops = features.batch("whole", rows)[:, None], model.sida.training
    cells, summarised = (
        F.dropout(features.batch(name, rows), DROPPED, drops) for name in ("cells", "summarised")
    )
    return model.encoder.tokens(cells, summarised, whole)


def classes_batch(model: CompactSida, features: Features, rows: np.ndarray) -> Tensor:
    """Class logits (B, 3) of some rows, read off the prompt alone."""
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


def learning_parts(model: CompactSida) -> nn.ModuleDict:
    """What learns: the modules behind the dense features and the whole head. All others are frozen."""
    model.requires_grad_(False)
    encoder = model.encoder
    parts = {"grid_token": encoder.grid_token, "summary": encoder.summary, "sida": model.sida}
    return nn.ModuleDict(parts).requires_grad_(True)


def train_classes(
    model: CompactSida, features: Features, rows: np.ndarray, fold: int, out: Path, how: Steps
) -> None:
    """Train the class alone on the `rows` of other folds; the log's figures are those of the fold left out."""
    parts = learning_parts(model)
    labels, outside = torch.from_numpy(features.labels), features.folds[rows] == fold

    def loss_of(step: int) -> Tensor:
        model.sida.train()
        chosen = rows_at(step, rows[~outside], how.batch)
        return class_loss(classes_batch(model, features, chosen), labels[chosen])

    fit(parts, loss_of, how, out, figures=lambda: class_figures(model, features, rows[outside]))


def train_all(model: CompactSida, features: Features, rows: np.ndarray, out: Path, how: Steps) -> None:
    """Train text, class and mask at once (equation 6)."""
    parts = learning_parts(model)
    ids, targets, seg_at = target_rows(features.records)
    labels = torch.from_numpy(features.labels)

    def answer(chosen: np.ndarray) -> Answer:
        tokens = tokens_batch(model, features, chosen)
        return model.answer(tokens, features.batch("dense", chosen), ids[chosen], seg_at[chosen])

    def loss_of(step: int) -> Tensor:
        model.sida.train()
        chosen = rows_at(step, rows, how.batch)
        output = answer(chosen)
        text = F.cross_entropy(output.text.flatten(0, 1), targets[chosen].flatten(), ignore_index=IGNORE)
        mask = masks_loss(output.mask, features.batch("mask", chosen), labels[chosen])
        return text + class_loss(output.classes, labels[chosen]) + MASK * mask

    @torch.no_grad()
    def figures() -> dict[str, Any]:
        chosen = np.sort(np.random.default_rng(0).permutation(rows)[:WATCHED])
        classes = class_figures(model, features, chosen)
        output, is_word = answer(chosen), targets[chosen] != IGNORE
        tampered = labels[chosen] == TAMPERED
        f1 = pixel_f1(output.mask[tampered], features.batch("mask", chosen)[tampered])
        words = (output.text.argmax(-1)[is_word] == targets[chosen][is_word]).float().mean()
        mask_and_words = {"f1": round(float(np.mean(f1)), 4), "words": round(float(words), 4)}
        return classes | mask_and_words

    fit(parts, loss_of, how, out, figures=figures)
    model.eval()
