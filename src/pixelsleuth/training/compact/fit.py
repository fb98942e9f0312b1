"""The training loop of the compact recipe: it counts steps and resumes from its last checkpoint to the same weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelsleuth.core.io import read_json_lines, replaced, write_text
from pixelsleuth.core.progress import progress
from pixelsleuth.training.compact.settings import Steps


@dataclass(frozen=True)
class Schedule:
    """`steps` steps of AdamW: a linear warmup of `warmup` steps to the rate `peak`, then a cosine to zero. A line of
    the log and a checkpoint every `every` steps and at the end."""

    steps: int
    peak: float
    warmup: int
    decay: float
    every: int

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return self.peak * min(1.0, (step + 1) / self.warmup) * cosine + 1e-6


def head_schedule(how: Steps) -> Schedule:
    """The schedule of a head on stored features, with eight lines of log."""
    return Schedule(how.steps, how.rate, warmup=50, decay=0.02, every=max(1, how.steps // 8))


def fit_steps(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    loss_of: Callable[[int], Tensor],
    schedule: Schedule,
    checkpoint: Path,
    *,
    figures: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Fit `parameters` of `model` to the loss of each step's batch, resuming from `checkpoint` where it exists.

    `loss_of` gets the step's number and must depend on nothing else, so that a run that was killed ends with the same
    weights. Lines go to `log.jsonl` beside the checkpoint: its name, the step, the mean loss since the last line, the
    seconds of this run, and what `figures` gives.
    """
    optimiser = torch.optim.AdamW(parameters, schedule.peak, weight_decay=schedule.decay)
    log = checkpoint.parent / "log.jsonl"
    first, losses, began = 0, [], time.monotonic()
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    forget_lines(log, checkpoint.stem, first)
    with progress(f"{checkpoint.parent.name}/{checkpoint.stem}", schedule.steps, done=first) as bar:
        for step in range(first, schedule.steps):
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate_at(step)
            torch.manual_seed(step)  # of dropout
            loss = loss_of(step)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            losses.append(loss.item())
            bar()
            if (step + 1) % schedule.every and step + 1 < schedule.steps:
                continue
            line = {"stage": checkpoint.stem, "step": step + 1, "of": schedule.steps}
            line |= {"loss": round(float(np.mean(losses)), 4), "seconds": round(time.monotonic() - began, 1)}
            with log.open("a") as lines:
                lines.write(json.dumps(line | figures()) + "\n")
            losses = []
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            with replaced(checkpoint) as part:
                torch.save(state, part)


def forget_lines(log: Path, stage: str, step: int) -> None:
    """Remove the lines of a stage behind `step`: they are written again."""
    if log.is_file():
        lines = [line for _, line in read_json_lines(log)]
        kept = [line for line in lines if line.get("stage", stage) != stage or line["step"] <= step]
        write_text(log, "".join(json.dumps(line) + "\n" for line in kept))


def rows_at(step: int, rows: np.ndarray, batch: int) -> np.ndarray:
    """The rows of a step's batch, sorted: drawn from `rows` without repetition by a generator of the step's number."""
    chosen = np.random.default_rng([5, step]).choice(rows, size=min(batch, len(rows)), replace=False)
    return np.sort(chosen)
