"""High-pass residuals: what is left of a picture when its content is taken away.

Forgery traces live in the last bits: SRM kernels (Fridrich and Kodovsky 2012, as used by RGB-N, Zhou et al. 2018) and
neighbouring-pixel residuals (NPR, Tan et al. 2024, section 3). All are fixed; nothing here is trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KV = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
SQUARE = [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]
LINE = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]


class Residuals(nn.Module):
    """(B, 3, H, W) in 0..255 -> (B, 12, H, W): three SRM kernels and NPR a colour channel, truncated to about -1..1."""

    channels = 12
    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = (
            torch.tensor([KV, SQUARE, LINE], dtype=torch.float32)
            / torch.tensor([12.0, 4.0, 2.0])[:, None, None]
        )
        self.register_buffer("kernels", kernels[:, None].repeat(3, 1, 1, 1), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        padded = F.pad(picture, (2, 2, 2, 2), mode="reflect")
        srm = F.conv2d(padded, self.kernels, groups=3)
        low = F.interpolate(picture[..., ::2, ::2], scale_factor=2.0, mode="nearest")
        npr = picture - low[..., : picture.shape[-2], : picture.shape[-1]]
        return torch.cat([srm / 3, npr / 12], dim=1).clamp(-1, 1)
