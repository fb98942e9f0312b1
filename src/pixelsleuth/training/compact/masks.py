"""Stage 4: join the views into dense features and a plain mask, on cached features.

The views stay as they are. Canvases whose picture comes from a source that the branches never saw are held out.

Run: `python -m pixelsleuth.training.compact.masks --features runs/features/* --cache runs/cache --branches runs --lite
LITE0.pth --out runs/masks --steps 2500`
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelsleuth.data.cache import load_cache
from pixelsleuth.models.compact.forensic import ForensicEncoder
from pixelsleuth.models.mask_losses import dice_loss
from pixelsleuth.training.compact.features import CHUNK, Features, load_encoder, load_features
from pixelsleuth.training.compact.mixture import TAMPERED
from pixelsleuth.training.compact.schedule import Fit, fit_steps

AUTHENTIC = 2.0
"""Weight of an empty mask's cross entropy on authentic canvases."""


def seen_masks(logits: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
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
    """Dense features of some rows."""
    maps = [features.batch(name, rows) for name in ("map4", "map8", "map16")]
    return encoder.dense_of(features.batch("local", rows), features.batch("repeats", rows), maps)


@dataclass
class Masks:
    """Mask figures on held-out canvases: mean F1 of tampered ones, mean area marked on authentic ones."""

    f1: float
    alarm: float


@torch.no_grad()
def measure(encoder: ForensicEncoder, features: Features, rows: np.ndarray) -> Masks:
    """Figures of the plain mask at logit 0."""
    encoder.eval()
    labels, f1, alarms = features.labels, [], []
    for first in range(0, len(rows), CHUNK):
        part = rows[first : first + CHUNK]
        logits, masks = encoder.plain_mask(dense_batch(encoder, features, part)), features.batch("mask", part)
        tampered = torch.from_numpy(labels[part] == TAMPERED)
        f1 += pixel_f1(logits[tampered], masks[tampered])
        alarms += (logits[~tampered] > 0).float().mean(dim=(1, 2, 3)).tolist()
    return Masks(float(np.mean(f1)), float(np.mean(alarms)))


def train_masks(
    encoder: ForensicEncoder, features: Features, train: np.ndarray, held: np.ndarray, out: Path, how: Fit
) -> None:
    """Train `shallow`, `mix` and `plain_mask` on the rows `train`; figures on `held` go to the log."""
    encoder.requires_grad_(False)
    learning = [encoder.shallow, encoder.mix, encoder.plain_mask]
    for module in learning:
        module.requires_grad_(True)
    labels = torch.from_numpy(features.labels)

    def loss_of(rows: np.ndarray) -> Tensor:
        for module in learning:
            module.train()
        logits = encoder.plain_mask(dense_batch(encoder, features, rows))
        return seen_masks(logits, features.batch("mask", rows), labels[rows])

    def check() -> dict[str, float]:
        figures = measure(encoder, features, held)
        return {"f1": round(figures.f1, 4), "alarm": round(figures.alarm, 4)}

    parameters = [p for module in learning for p in module.parameters()]
    state = torch.nn.ModuleDict({"shallow": encoder.shallow, "mix": encoder.mix, "plain": encoder.plain_mask})
    fit_steps(state, parameters, loss_of, check, rows=train, out=out, how=how)
    encoder.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    for name in ("cache", "branches", "lite", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    unseen = {picture.source for picture in load_cache(options.cache) if picture.unseen}
    features = load_features(options.features)
    encoder = load_encoder(options.branches, options.lite)
    held = np.array([record["source"] in unseen for record in features.records])
    rows = np.arange(len(features))
    train_masks(
        encoder, features, rows[~held], rows[held], options.out, Fit(options.steps, options.batch, 1.5e-3)
    )
    torch.save(encoder.state_dict(), options.out / "encoder.pt")


if __name__ == "__main__":
    main()
