"""Stage 1: train one branch of the forensic encoder with its plain head, on forgeries made on the fly.

The schedule counts steps (cosine from the peak rate to zero), so the result does not depend on how busy the machine is;
every batch is drawn from a generator of its own number, so a run that was killed goes on from its last checkpoint as if
nothing had happened. Each line of `log.jsonl` carries the mean loss since the last one.

Run: `python -m pixelsleuth.training.compact.branches local --cache runs/cache --aligned runs/aligned --out runs/local`
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.data.cache import load_cache
from pixelsleuth.models.compact.views import LocalBranch, RepeatBranch
from pixelsleuth.training.compact.mixture import Canvas, Mixture, load_aligned

BRANCHES: dict[str, Callable[[], nn.Module]] = {"local": LocalBranch, "repeat": RepeatBranch}
CANVAS = {"local": 128, "repeat": 192}
CLASSES = {"local": (0.2, 0.1, 0.7), "repeat": (0.15, 0.05, 0.8)}
"""Shares of real, synthetic and tampered canvases."""
OPERATIONS = {"repeat": {"copy-move": 0.8, "splice": 0.2}}
DECAY = 1e-4
EVERY = 100
"""Steps between lines of the log."""


@dataclass(frozen=True)
class Schedule:
    """`steps` batches of `batch` canvases, AdamW at the peak rate `rate`, warmed up over 100 steps."""

    steps: int
    batch: int = 16
    rate: float = 1e-3

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        return (
            self.rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / self.steps))
            + 1e-6
        )


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


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically: a killed run leaves the previous checkpoint whole."""
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def start_from(model: nn.Module, file: Path, name: str) -> None:
    """Take a branch's weights out of a compact checkpoint's `model.safetensors`."""
    from safetensors.torch import load_file

    prefix = f"encoder.{name}."
    model.load_state_dict(
        {k.removeprefix(prefix): v for k, v in load_file(file).items() if k.startswith(prefix)}
    )


def batch_of(mixture: Mixture, name: str, number: int, size: int) -> list[Canvas]:
    """The canvases of one step: they depend on its number alone."""
    mixture.random = np.random.default_rng([len(name), number])
    labels = mixture.random.choice(3, size=size, p=np.array(CLASSES[name]))
    return [mixture.canvas(int(label), aligned=0.3) for label in labels]


def train_branch(
    name: str, mixture: Mixture, out: Path, schedule: Schedule, start: Path | None = None
) -> None:
    """Train for the schedule's steps, going on from `out/checkpoint.pt` where there is one."""
    torch.manual_seed(0)
    model = BRANCHES[name]()
    if start is not None:
        start_from(model, start, name)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), schedule.rate, weight_decay=DECAY)
    path, first = out / "checkpoint.pt", 0
    if path.is_file():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    losses, began = [], time.monotonic()
    for step in range(first, schedule.steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(step)
        pictures, masks = to_tensors(batch_of(mixture, name, step, schedule.batch))
        _, logits = model(pictures)
        loss = mask_loss(logits[:, :1], F.adaptive_avg_pool2d(masks, logits.shape[-2:]))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % EVERY == 0 or step + 1 == schedule.steps:
            line = {"step": step + 1, "of": schedule.steps, "loss": round(float(np.mean(losses)), 4)}
            line["seconds"] = round((time.monotonic() - began), 1)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            losses = []
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            save_checkpoint(path, state)
    (out / "finished").touch()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("branch", choices=BRANCHES)
    for name in ("cache", "aligned", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument(
        "--start", default="none", help="model.safetensors of a compact checkpoint to go on from"
    )
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    cached = load_cache(options.cache)
    mixture = Mixture(
        [picture for picture in cached if picture.fold >= 0 and not picture.unseen],
        load_aligned(options.aligned, cached),
        size=CANVAS[options.branch],
        operations=OPERATIONS.get(options.branch),
    )
    schedule = Schedule(options.steps, options.batch, options.rate)
    start = None if options.start == "none" else Path(options.start)
    train_branch(options.branch, mixture, options.out, schedule, start)


if __name__ == "__main__":
    main()
