"""Training that counts steps and goes on where it stopped: for heads on cached features."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelsleuth.training.compact.branches import save_checkpoint


@dataclass(frozen=True)
class Fit:
    """`steps` batches of `batch` rows, AdamW at the peak rate `rate`, warmed up over 50 steps, then a cosine to zero;
    figures and a checkpoint `checks` times."""

    steps: int
    batch: int
    rate: float
    checks: int = 8
    decay: float = 0.02

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        return (
            self.rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / self.steps)) + 1e-6
        )


def fit_steps(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    loss_of: Callable[[np.ndarray], Tensor],
    check: Callable[[], dict[str, Any]],
    *,
    rows: np.ndarray,
    out: Path,
    how: Fit,
    name: str = "fit",
) -> None:
    """Fit `parameters` of `model`; step n draws its rows from a generator of its own, so that a run that was
    killed goes on from `out/NAME.pt` to the same result. Each line of `out/log.jsonl` holds step, mean loss and what
    `check` gives."""
    optimiser = torch.optim.AdamW(parameters, how.rate, weight_decay=how.decay)
    path, first, losses = out / f"{name}.pt", 0, []
    every = max(1, how.steps // how.checks)
    if path.is_file():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    for step in range(first, how.steps):
        for group in optimiser.param_groups:
            group["lr"] = how.rate_at(step)
        torch.manual_seed(step)
        chosen = np.random.default_rng([5, step]).choice(rows, size=min(how.batch, len(rows)), replace=False)
        loss = loss_of(np.sort(chosen))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % every == 0 or step + 1 == how.steps:
            line = {
                "stage": name,
                "step": step + 1,
                "of": how.steps,
                "loss": round(float(np.mean(losses)), 4),
            }
            line |= check()
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(line, flush=True)
            losses = []
            save_checkpoint(
                path, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            )
