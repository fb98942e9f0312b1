"""Losses of masks: Dice, and cross entropy beside it over masks of different sizes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1e-3
"""Dice's smoothing in pixels; SIDA's release divides both sums by 1000 and adds 1e-6, which is the same."""


def dice_loss(logits: Tensor, target: Tensor, *, smooth: float = SMOOTH) -> Tensor:
    """One minus soft Dice, mean over the masks; logits and target (B, 1, H, W), target in 0..1."""
    probability, truth = logits.sigmoid().flatten(1), target.flatten(1)
    overlap = 2 * (probability * truth).sum(1)
    return (1 - (overlap + smooth) / (probability.sum(1) + truth.sum(1) + smooth)).mean()


def masks_apart(logits: list[Tensor], targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Cross entropy and Dice of masks (H, W) of different sizes, each mask with the same weight."""
    bce = [F.binary_cross_entropy_with_logits(a, b) for a, b in zip(logits, targets, strict=True)]
    dice = [dice_loss(a[None, None], b[None, None]) for a, b in zip(logits, targets, strict=True)]
    return torch.stack(bce).mean(), torch.stack(dice).mean()
