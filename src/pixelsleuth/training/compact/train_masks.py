"""Trains what joins the views into dense features and a plain mask, on stored features.

The views stay as they are. Canvases of sources that the branches never saw are held out and measured.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.core.io import replaced
from pixelsleuth.data.picture_cache import load_cache
from pixelsleuth.models.compact.forensic import ForensicEncoder
from pixelsleuth.models.mask_losses import dice_loss
from pixelsleuth.training.compact.feature_shards import CHUNK, Features, load_encoder, load_features
from pixelsleuth.training.compact.fit import fit, rows_at
from pixelsleuth.training.compact.mixture import TAMPERED
from pixelsleuth.training.compact.settings import CompactRecipe

AUTHENTIC = 2.0
"""Weight of an empty mask's cross entropy on authentic canvases."""


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
