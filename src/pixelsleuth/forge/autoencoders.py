"""Aligned fakes: photographs passed through small autoencoders, so that only the decoder's trace differs.

A detector that sees posters as synthetic and photographs as real learns posters. Passing the *same* photographs through
a generator's autoencoder, without denoising, leaves content alone and adds what generators have in common: learned
upsampling (arXiv 2410.11835; local regeneration as a tampered class: arXiv 2412.17671). This module trains a family of
small autoencoders that differ in stride, upsampling, quantisation and an adversarial term.

Run: `python -m pixelsleuth.forge.autoencoders --cache runs/cache --out runs/ae [--names nearest4 transposed4 ...]`
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class AutoencoderConfig:
    """One member of the family. `stride` is 2, 4 or 8; `up` names the decoder's upsampling."""

    stride: int
    up: str
    latent: int
    levels: int = 0
    adversarial: bool = False


FAMILY = {
    "nearest4": AutoencoderConfig(4, "nearest", 12),
    "transposed2": AutoencoderConfig(2, "transposed", 4),
    "shuffle4": AutoencoderConfig(4, "shuffle", 12, levels=31),
    "bilinear2": AutoencoderConfig(2, "bilinear", 4, adversarial=True),
    "nearest2": AutoencoderConfig(2, "nearest", 4, levels=15),
    "transposed4": AutoencoderConfig(4, "transposed", 12, adversarial=True),
    "shuffle2": AutoencoderConfig(2, "shuffle", 4),
    "bilinear4": AutoencoderConfig(4, "bilinear", 12),
}
WIDTHS = (12, 24, 40, 48)
"""Channels by resolution: full, half, quarter, eighth."""


def _upsample(kind: str, inside: int, outside: int) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(inside, outside, 4, 2, 1)
    if kind == "shuffle":
        return nn.Sequential(nn.Conv2d(inside, outside * 4, 3, 1, 1), nn.PixelShuffle(2))
    return nn.Sequential(nn.Upsample(scale_factor=2, mode=kind), nn.Conv2d(inside, outside, 3, 1, 1))


class Autoencoder(nn.Module):
    """Convolutional autoencoder; input and output (B, 3, H, W) in -1..1, H and W multiples of `stride`.

    The encoder folds blocks into channels; the decoder adds up RGB outputs of every resolution (as StyleGAN2 does),
    which makes minutes of training enough for a faithful copy.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        steps = int(math.log2(config.stride))
        widths = WIDTHS[steps::-1]
        fold = nn.Conv2d(3 * config.stride**2, config.latent, 1)
        nn.init.orthogonal_(fold.weight)
        self.encoder = nn.Sequential(nn.PixelUnshuffle(config.stride), fold)
        self.stem = nn.Sequential(nn.Conv2d(config.latent, widths[0], 3, 1, 1), nn.SiLU(), _Block(widths[0]))
        self.ups = nn.ModuleList(
            nn.Sequential(_upsample(config.up, a, b), nn.SiLU(), _Block(b))
            for a, b in itertools.pairwise(widths)
        )
        self.colours = nn.ModuleList(nn.Conv2d(width, 3, 1) for width in widths)

    def forward(self, picture: Tensor) -> Tensor:
        latent = self.encoder(picture)
        if self.config.levels:  # finite scalar quantisation with a straight-through gradient
            half = (self.config.levels - 1) / 2
            bounded = torch.tanh(latent) * half
            latent = (bounded + (bounded.round() - bounded).detach()) / half
        features = self.stem(latent)
        output = self.colours[0](features)
        mode = "nearest" if self.config.up == "nearest" else "bilinear"
        for up, colour in zip(self.ups, self.colours[1:], strict=True):
            features = up(features)
            output = F.interpolate(output, scale_factor=2.0, mode=mode) + colour(features)
        return output


class _Block(nn.Module):
    """A residual convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.silu(self.body(x))


def patch_critic() -> nn.Module:
    """A three-layer patch discriminator, the adversarial term of `AutoencoderConfig.adversarial`."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(24, 48, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(48, 1, 3, 1, 1),
    )


def _fidelity(output: Tensor, target: Tensor) -> Tensor:
    """L1 on pixels plus L1 on neighbour differences, which keeps texture sharper than L1 alone."""
    across = (output.diff(dim=-1) - target.diff(dim=-1)).abs().mean()
    down = (output.diff(dim=-2) - target.diff(dim=-2)).abs().mean()
    return (output - target).abs().mean() + across + down


def train(
    config: AutoencoderConfig,
    crops: Callable[[int], np.ndarray],
    *,
    seconds: float,
    batch: int = 8,
    seed: int = 0,
) -> Autoencoder:
    """Train one autoencoder for `seconds`; `crops(n)` gives (n, H, W, 3) uint8."""
    torch.manual_seed(seed)
    model = Autoencoder(config)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3, betas=(0.8, 0.99))
    critic = patch_critic() if config.adversarial else None
    judge = torch.optim.Adam(critic.parameters(), 5e-4, betas=(0.5, 0.9)) if critic else None
    start, step = time.monotonic(), 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * min(1, 0.02 + 10 * done) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
        picture = torch.from_numpy(crops(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1
        output = model(picture)
        loss = _fidelity(output, picture)
        if critic is not None and judge is not None and done > 0.4:
            loss = loss - 0.02 * critic(output).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if critic is not None and judge is not None and done > 0.35:
            judge.zero_grad()
            hinge = F.relu(1 - critic(picture)).mean() + F.relu(1 + critic(output.detach())).mean()
            hinge.backward()
            judge.step()
        step += 1
        if step % 200 == 0:
            print(f"step {step} {done:.0%} loss {loss.item():.4f}", flush=True)
    return model.eval()


@torch.no_grad()
def regenerate(model: Autoencoder, picture: np.ndarray) -> np.ndarray:
    """Pass one picture, (H, W, 3) uint8, through an autoencoder; the result has the same shape and type."""
    height, width = picture.shape[:2]
    stride = model.config.stride
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    tensor = F.pad(tensor, (0, -width % stride, 0, -height % stride), mode="replicate")
    output = model(tensor)[0, :, :height, :width]
    return ((output.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def main() -> None:
    """Train members of the family on the photographs of a manifest and save them as safetensors."""
    from safetensors.torch import save_file

    from pixelsleuth.data.cache import load_cache

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--names", nargs="+", choices=FAMILY, default=list(FAMILY))
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    pool = [item.pixels for item in load_cache(options.cache, "train") if item.label == 0]
    for name in options.names:
        random = np.random.default_rng(len(name))

        def crops(count: int, size: int = 64, random: np.random.Generator = random) -> np.ndarray:
            chosen = []
            for index in random.integers(len(pool), size=count):
                height, width = pool[index].shape[:2]
                top, left = random.integers(height - size + 1), random.integers(width - size + 1)
                chosen.append(pool[index][top : top + size, left : left + size])
            return np.stack(chosen)

        model = train(FAMILY[name], crops, seconds=options.seconds)
        save_file(model.state_dict(), options.out / f"{name}.safetensors")
        errors = [np.abs(regenerate(model, p).astype(float) - p).mean() for p in pool[:20]]
        print(f"{name}: mean absolute error {np.mean(errors):.2f} of 255", flush=True)


def load_family(folder: Path) -> dict[str, Autoencoder]:
    """Every trained member found in `folder`, by name."""
    from safetensors.torch import load_file

    models = {}
    for name, config in FAMILY.items():
        if (path := folder / f"{name}.safetensors").is_file():
            models[name] = Autoencoder(config).eval()
            models[name].load_state_dict(load_file(path))
    return models


if __name__ == "__main__":
    main()
