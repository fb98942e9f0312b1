"""Aligned fakes: photographs passed through a generator's autoencoder, so that only the decoder's trace differs.

A detector that sees posters as synthetic and photographs as real learns posters. Passing the *same* photographs through
a generator's autoencoder, without denoising, leaves content alone and adds what generators have in common: learned
upsampling (arXiv 2410.11835; local regeneration as a tampered class: arXiv 2412.17671).

The autoencoder is TAEF2, the public tiny autoencoder of FLUX.2's latent space (MIT): `taef2_encoder.pth` and
`taef2_decoder.pth` in one folder. Its trace is related to that of FLUX.2's own decoder, not equal to it. A photograph
takes about a second and a half on one core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.io import replaced
from pixelsleuth.core.progress import progress
from pixelsleuth.data.equalise import random_for
from pixelsleuth.errors import UsageError

FILES = ("taef2_encoder.pth", "taef2_decoder.pth")
WIDTH, LATENT, STRIDE = 64, 32, 8
GROUPS = 4
"""Of the group norm in the pooled branch."""


def _conv(inside: int, outside: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride, 1, bias=bias)


class Clamp(nn.Module):
    """Latents squashed softly to -3..3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Three convolutions with a skip; at the lowest resolution a group-normalised branch is added first."""

    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH)
        )
        if pooled:
            wide = 4 * WIDTH
            self.pool: nn.Module | None = nn.Sequential(
                nn.Conv2d(WIDTH, wide, 1, bias=False), nn.GroupNorm(GROUPS, wide), nn.ReLU(),
                nn.Conv2d(wide, WIDTH, 1, bias=False),
            )  # fmt: skip
        else:
            self.pool = None

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(self.conv(x) + x)


def _blocks(count: int, *, pooled: bool = False) -> list[nn.Module]:
    return [Block(pooled=pooled) for _ in range(count)]


def encoder() -> nn.Sequential:
    """(B, 3, H, W) in 0..1 -> latents (B, 32, H/8, W/8)."""
    layers: list[nn.Module] = [_conv(3, WIDTH), Block()]
    for level in range(3):
        layers += [_conv(WIDTH, WIDTH, stride=2, bias=False), *_blocks(3, pooled=level == 2)]
    return nn.Sequential(*layers, _conv(WIDTH, LATENT))


def decoder() -> nn.Sequential:
    """Latents (B, 32, h, w) -> (B, 3, 8h, 8w) in about 0..1."""
    layers: list[nn.Module] = [Clamp(), _conv(LATENT, WIDTH), nn.ReLU()]
    for level in range(3):
        layers += [
            *_blocks(3, pooled=level == 0),
            nn.Upsample(scale_factor=2),
            _conv(WIDTH, WIDTH, bias=False),
        ]
    return nn.Sequential(*layers, Block(), _conv(WIDTH, 3))


class Autoencoder(nn.Module):
    """TAEF2; pixels (B, 3, H, W) in 0..1, H and W multiples of 8, to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder(), decoder()

    def forward(self, picture: Tensor) -> Tensor:
        return self.decoder(self.encoder(picture)).clamp(0, 1)


def load_autoencoder(folder: Path) -> Autoencoder:
    """The autoencoder whose weights lie in `folder`.

    Raises:
        UsageError: a file is missing, or holds other weights.
    """
    model = Autoencoder()
    for name, part in zip(FILES, (model.encoder, model.decoder), strict=True):
        path = folder / name
        if not path.is_file():
            raise UsageError(
                f"{folder} lacks {name}: name the folder of TAEF2's weights (docs/how-to/train-the-bundled-model.md)."
            )
        try:
            part.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises many kinds for a damaged file
            raise UsageError(f"{path} does not hold TAEF2's weights: download it again.") from error
    return model.eval()


@torch.no_grad()
def regenerate(model: nn.Module, picture: np.ndarray) -> np.ndarray:
    """Pass one picture, (H, W, 3) uint8, through an autoencoder; the result has the same shape and type."""
    height, width = picture.shape[:2]
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    tensor = F.pad(tensor, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
    output = model(tensor)[0, :, :height, :width]
    return (output.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def write_aligned(model: nn.Module, pictures: list[Any], out: Path, *, count: int) -> None:
    """Regenerate `count` cached photographs, drawn by name, as `out/NUMBER.npy`; what is there is kept.

    `pictures` are `data.picture_cache.CachedPicture`; the number is the picture's place in the cache.
    """
    out.mkdir(parents=True, exist_ok=True)
    numbers = [n for n, picture in enumerate(pictures) if picture.label == 0]
    numbers.sort(key=lambda n: random_for(pictures[n].name).random())
    with progress("aligned", min(count, len(numbers))) as bar:
        for number in numbers[:count]:
            path = out / f"{number}.npy"
            if not path.is_file():
                with replaced(path) as part, part.open("wb") as handle:
                    np.save(handle, regenerate(model, pictures[number].pixels))
            bar()
    (out / "finished").touch()
