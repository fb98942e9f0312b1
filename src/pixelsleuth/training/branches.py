"""Stage 1: train one branch of the forensic encoder with its plain head, on forgeries made on the fly.

The schedule is by wall time (a laptop's budget): cosine from the peak rate to zero over `--seconds`, resumable from the
last checkpoint. Each line of `log.jsonl` carries the losses since the last one.

Run: `python -m pixelsleuth.training.branches local --cache runs/cache --family runs/ae --out runs/local`
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.data.cache import load_cache
from pixelsleuth.forge.autoencoders import load_family
from pixelsleuth.models.encoders.branches import LocalBranch, RepeatBranch, TextureBranch
from pixelsleuth.training.mixture import SYNTHETIC, Canvas, Mixture

BRANCHES: dict[str, Callable[[], nn.Module]] = {
    "local": LocalBranch,
    "repeat": RepeatBranch,
    "texture": TextureBranch,
}
CANVAS = {"local": 128, "repeat": 192, "texture": 192}
CLASSES = {"local": (0.12, 0.06, 0.82), "repeat": (0.15, 0.05, 0.8), "texture": (0.5, 0.5, 0.0)}
DECAY = {"local": 1e-4, "repeat": 1e-4, "texture": 0.05}
OPERATIONS = {"repeat": {"copy-move": 0.8, "splice": 0.2}}


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
    probability, truth = logits[tampered].sigmoid().flatten(1), target[tampered].flatten(1)
    dice = 1 - (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return entropy + 0.5 * dice.mean()


def heads_loss(logits: Tensor, synthetic: Tensor, aligned: Tensor) -> Tensor:
    """Cross entropy of the two heads (B, 2): corpus generators against real, autoencoders against real."""
    real = synthetic == 0
    total = logits.new_zeros(())
    for column, rows in ((0, real | ~aligned), (1, real | aligned)):
        if rows.any():
            total = total + F.binary_cross_entropy_with_logits(logits[rows, column], synthetic[rows])
    return total


def branch_loss(name: str, model: nn.Module, batch: list[Canvas]) -> Tensor:
    """The loss of one branch's plain head on a batch of canvases."""
    pictures, masks = to_tensors(batch)
    _, logits = model(pictures)
    if name == "texture":
        synthetic = torch.tensor([float(c.label == SYNTHETIC) for c in batch])
        aligned = torch.tensor([c.aligned for c in batch])
        return heads_loss(logits, synthetic, aligned)
    return mask_loss(logits[:, :1], F.adaptive_avg_pool2d(masks, logits.shape[-2:]))


def save_checkpoint(path: Path, state: dict) -> None:
    """Write atomically: a killed run leaves the previous checkpoint whole."""
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def train_branch(
    name: str, mixture: Mixture, out: Path, *, seconds: float, batch: int, rate: float, aligned: float
) -> None:
    """Train until `seconds` of work are spent, counting what a resumed checkpoint had already spent."""
    torch.manual_seed(0)
    model = BRANCHES[name]()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=DECAY[name])
    spent, step, path = 0.0, 0, out / "checkpoint.pt"
    if path.is_file():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        spent, step = state["spent"], state["step"]
    mixture.random = np.random.default_rng(step + 1)
    shares, losses, saved, last = np.array(CLASSES[name]), [], time.monotonic(), time.monotonic()
    while spent < seconds:
        for group in optimiser.param_groups:
            group["lr"] = (
                rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * spent / seconds)) + 1e-6
            )
        labels = mixture.random.choice(3, size=batch, p=shares)
        loss = branch_loss(name, model, [mixture.canvas(int(label), aligned=aligned) for label in labels])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        step += 1
        now = time.monotonic()
        spent, last = spent + now - last, now
        if step % 100 == 0:
            with (out / "log.jsonl").open("a") as log:
                log.write(
                    json.dumps(
                        {"step": step, "spent": round(spent), "loss": round(float(np.mean(losses)), 4)}
                    )
                    + "\n"
                )
            losses = []
        if now - saved > 60 or spent >= seconds:
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "spent": spent,
                "step": step,
            }
            save_checkpoint(path, state)
            saved = now


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("branch", choices=BRANCHES)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--family", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, help="side of a canvas in pixels, a multiple of 8")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument(
        "--aligned-share", type=float, default=0.5, help="share of autoencoder fakes among synthetic ones"
    )
    parser.add_argument(
        "--leave-out", nargs="*", default=[], help="sources (prefixes) that training must not see"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    mixture = Mixture(
        load_cache(options.cache, "fit"),
        list(load_family(options.family).values()),
        size=options.size or CANVAS[options.branch],
        seed=0,
        operations=OPERATIONS.get(options.branch),
        leave_out=tuple(options.leave_out),
    )
    settings = {
        "seconds": options.seconds,
        "batch": options.batch,
        "rate": options.rate,
        "aligned": options.aligned_share,
    }
    train_branch(options.branch, mixture, options.out, **settings)


if __name__ == "__main__":
    main()
