"""SIDA's losses (equations 5 and 6): detection and text cross entropy, mask cross entropy 2.0 and Dice 0.5."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus soft Dice, mean over the masks; logits and target (B, 1, H, W), target in 0..1."""
    probability, truth = logits.sigmoid().flatten(1), target.flatten(1)
    return (1 - (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)).mean()


def mask_loss(logits: Tensor, target: Tensor, *, bce: float = 2.0, dice: float = 0.5) -> Tensor:
    """Equation 5: weighted cross entropy plus Dice, on pictures that carry a mask."""
    return bce * F.binary_cross_entropy_with_logits(logits, target) + dice * dice_loss(logits, target)
