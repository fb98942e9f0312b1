"""SIDA's losses (equations 5 and 6): detection and text cross entropy, mask cross entropy 2.0 and Dice 0.5.

The release starts its three mask losses as one tensor and adds to it in place, so what it reports (and trains on) is
(w_bce + w_dice) * (bce + dice). Here each term is itself, as the paper has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1e-3
"""Dice's smoothing, in places: the release divides both sums by 1000 and adds 1e-6, which comes to this."""


def dice_loss(logits: Tensor, target: Tensor, *, smooth: float = SMOOTH) -> Tensor:
    """One minus soft Dice, mean over the masks; logits and target (B, 1, H, W), target in 0..1."""
    probability, truth = logits.sigmoid().flatten(1), target.flatten(1)
    overlap = 2 * (probability * truth).sum(1)
    return (1 - (overlap + smooth) / (probability.sum(1) + truth.sum(1) + smooth)).mean()


def mask_loss(
    logits: Tensor, target: Tensor, *, bce: float = 2.0, dice: float = 0.5, smooth: float = SMOOTH
) -> Tensor:
    """Equation 5: weighted cross entropy plus Dice, on pictures that carry a mask."""
    return bce * F.binary_cross_entropy_with_logits(logits, target) + dice * dice_loss(
        logits, target, smooth=smooth
    )


@dataclass
class Losses:
    """The terms of equations 5 and 6, each a scalar: zero where a batch has nothing of the kind."""

    detection: Tensor
    text: Tensor
    bce: Tensor
    dice: Tensor

    def total(
        self,
        *,
        detection: float = 1.0,
        text: float = 1.0,
        mask: float = 1.0,
        bce: float = 2.0,
        dice: float = 0.5,
    ) -> Tensor:
        """Equation 6 with its weights (lambda_det, lambda_txt, lambda_mask) and those of equation 5."""
        return detection * self.detection + text * self.text + mask * (bce * self.bce + dice * self.dice)


def masks_apart(logits: list[Tensor], targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Cross entropy and Dice of masks of different sizes, each mask counting the same; (H, W) each."""
    bce = [F.binary_cross_entropy_with_logits(a, b) for a, b in zip(logits, targets, strict=True)]
    dice = [dice_loss(a[None, None], b[None, None]) for a, b in zip(logits, targets, strict=True)]
    return torch.stack(bce).mean(), torch.stack(dice).mean()
