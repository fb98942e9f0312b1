"""Global statistics of a picture's finest detail: block spectrum and co-occurrences of quantised residuals.

Generators betray themselves in the distribution of the smallest differences, not in any single place. Two descriptions
of it, both fixed: the mean log power of 32 x 32 block DCT coefficients (Frank et al. 2020) and joint histograms of
neighbouring residuals (SPAM, Pevny et al. 2010; SRM, Fridrich and Kodovsky 2012).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BLOCK = 32
LEVELS = 3
"""Residuals are quantised to -LEVELS..LEVELS."""


def dct_matrix(size: int) -> Tensor:
    """Orthonormal DCT-II as a (size, size) matrix."""
    rows = torch.arange(size, dtype=torch.float32)[:, None]
    columns = torch.arange(size, dtype=torch.float32)[None]
    matrix = torch.cos(math.pi * (columns + 0.5) * rows / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def spectrum(plane: Tensor, transform: Tensor) -> Tensor:
    """(B, H, W) -> (B, size * size): log of the mean power of each block DCT coefficient."""
    size = transform.shape[0]
    rows, columns = plane.shape[1] // size, plane.shape[2] // size
    blocks = (
        plane[:, : rows * size, : columns * size]
        .reshape(plane.shape[0], rows, size, columns, size)
        .transpose(2, 3)
    )
    power = (transform @ blocks @ transform.T).square()
    return (power.mean(dim=(1, 2)) + 0.05).log().flatten(1)


def one_hot(residual: Tensor, step: float) -> Tensor:
    """(B, H, W) -> (B, 2 * LEVELS + 1, H, W): which quantisation level each residual falls into."""
    quantised = (residual / step).round().clamp(-LEVELS, LEVELS)
    levels = torch.arange(-LEVELS, LEVELS + 1, device=residual.device, dtype=residual.dtype)[:, None, None]
    return (quantised[:, None] == levels).to(residual.dtype)


def pairs(residual: Tensor, step: float, *, across: bool) -> Tensor:
    """(B, H, W) -> (B, 49): square root of the joint histogram of neighbours along a row (`across`) or a column."""
    hot = one_hot(residual, step)
    first, second = (hot[..., :-1], hot[..., 1:]) if across else (hot[..., :-1, :], hot[..., 1:, :])
    first, second = first.flatten(2), second.flatten(2)
    joint = first @ second.transpose(1, 2) / first.shape[-1]
    return (joint + 1e-6).sqrt().flatten(1)


class Statistics(nn.Module):
    """(B, 3, H, W) in 0..255, sides at least 32, to a fixed description (B, SIZE); nothing here is trained."""

    SIZE = BLOCK**2 + 2 * (BLOCK // 2) ** 2 + 49 * (4 * 2 + 2 * 2)
    dct32: Tensor
    dct16: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("dct32", dct_matrix(BLOCK), persistent=False)
        self.register_buffer("dct16", dct_matrix(BLOCK // 2), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        red, green, blue = picture[:, 0], picture[:, 1], picture[:, 2]
        luma = (0.299 * red + 0.587 * green + 0.114 * blue).round()
        blueness, redness = ((blue - luma) * 0.564).round(), ((red - luma) * 0.713).round()
        parts = [spectrum(luma, self.dct32), spectrum(blueness, self.dct16), spectrum(redness, self.dct16)]
        for plane, steps in ((luma, (1.0, 3.0)), (blueness, (1.0,)), (redness, (1.0,))):
            across, down = plane[:, :, 1:] - plane[:, :, :-1], plane[:, 1:] - plane[:, :-1]
            for step in steps:
                parts += [pairs(across, step, across=True), pairs(down, step, across=False)]
                if plane is luma:
                    second_across, second_down = (
                        across[:, :, 1:] - across[:, :, :-1],
                        down[:, 1:] - down[:, :-1],
                    )
                    parts += [pairs(second_across, step, across=True), pairs(second_down, step, across=False)]
        return torch.cat(parts, dim=1)
