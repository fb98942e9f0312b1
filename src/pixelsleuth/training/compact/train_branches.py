"""Trains one branch of the forensic encoder, with a plain head of its own, on forgeries made on the fly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.data.picture_cache import load_cache
from pixelsleuth.models.compact.views import LocalBranch, RepeatBranch
from pixelsleuth.models.mask_losses import dice_loss
from pixelsleuth.training.compact.fit import fit
from pixelsleuth.training.compact.mixture import Canvas, Mixture, load_aligned
from pixelsleuth.training.compact.settings import CompactRecipe, Steps

BRANCHES: dict[str, Callable[[], nn.Module]] = {"local": LocalBranch, "repeat": RepeatBranch}
CANVAS = {"local": 128, "repeat": 192}
CLASSES = {"local": (0.2, 0.1, 0.7), "repeat": (0.15, 0.05, 0.8)}
"""Shares of real, synthetic and tampered canvases."""
OPERATIONS = {"repeat": {"copy-move": 0.8, "splice": 0.2}}
ALIGNED = 0.3
"""Share of autoencoder fakes among synthetic canvases."""
EVERY = 100
"""Steps between checkpoints."""


def branch_stage(recipe: CompactRecipe, name: str) -> None:
    """Train the branch `name` (`local` or `repeat`) into its folder."""
    out = recipe.folder(name)
    pictures = load_cache(recipe.folder("cache"))
    mixture = Mixture(
        [picture for picture in pictures if picture.fold >= 0 and not picture.unseen],
        load_aligned(recipe.folder("aligned"), pictures),
        size=CANVAS[name],
        operations=OPERATIONS.get(name),
    )
    start = None if recipe.start == "none" else Path(recipe.start)
    train_branch(name, mixture, out, getattr(recipe, name), start)
    (out / "finished").touch()


def train_branch(
    name: str, mixture: Mixture, out: Path, how: Steps, start: Path | None = None, every: int = EVERY
) -> None:
    """Train a branch in the folder `out`; `start` is a compact model.safetensors whose branch is trained on."""
    torch.manual_seed(0)
    model = BRANCHES[name]()
    if start is not None:
        start_from(model, start, name)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of(step: int) -> Tensor:
        pictures, masks = to_tensors(batch_of(mixture, name, step, how.batch))
        _, logits = model(pictures)
        return mask_loss(logits[:, :1], F.adaptive_avg_pool2d(masks, logits.shape[-2:]))

    fit(model, loss_of, how, out, warmup=100, decay=1e-4, every=every)


def batch_of(mixture: Mixture, name: str, step: int, size: int) -> list[Canvas]:
    """The canvases of a step; they depend on its number alone."""
    mixture.random = np.random.default_rng([len(name), step])
    labels = mixture.random.choice(3, size=size, p=np.array(CLASSES[name]))
    return [mixture.canvas(int(label), aligned=ALIGNED) for label in labels]


def to_tensors(batch: list[Canvas]) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, S, S) float 0..255 in channels-last memory, masks (B, 1, S, S) float 0..1."""
    pictures = torch.from_numpy(np.stack([canvas.pixels for canvas in batch])).permute(0, 3, 1, 2).float()
    masks = torch.from_numpy(np.stack([canvas.mask for canvas in batch]))[:, None].float() / 255
    return pictures, masks


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy on every place plus Dice on the tampered pictures; `target` is the mask's share of each place."""
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    tampered = target.amax(dim=(1, 2, 3)) > 0
    if not tampered.any():
        return entropy
    return entropy + 0.5 * dice_loss(logits[tampered], target[tampered], smooth=1.0)


def start_from(model: nn.Module, file: Path, name: str) -> None:
    """Load the weights of the branch `name` from a compact checkpoint's `model.safetensors`."""
    from safetensors.torch import load_file

    prefix = f"encoder.{name}."
    model.load_state_dict(
        {key.removeprefix(prefix): v for key, v in load_file(file).items() if key.startswith(prefix)}
    )
