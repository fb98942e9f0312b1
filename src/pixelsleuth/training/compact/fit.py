"""Networks of the compact recipe on the training loop: each step's loss depends on its number alone.

A training that was killed resumes from its last checkpoint and ends with the same weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelsleuth.errors import UsageError
from pixelsleuth.training.compact.settings import Steps
from pixelsleuth.training.run.checkpoints import Keeper, moments, restore_moments
from pixelsleuth.training.run.feed import Numbered
from pixelsleuth.training.run.loop import Loop, Parts, Step, Taken
from pixelsleuth.training.run.settings import Checkpoints


class FitStep(Step):
    """AdamW on all parameters of `model`: a linear warmup of `warmup` steps to the rate, then a cosine to zero.

    Args:
        model: what learns; its buffers are kept with it.
        loss_of: the loss of a step by its number, counted from 0.
        how: steps, batch and peak rate.
        figures: what is measured between steps.
    """

    def __init__(
        self, model: nn.Module, loss_of: Callable[[int], Tensor], how: Steps, *, warmup: int, decay: float,
        figures: Callable[[], dict[str, float]],
    ) -> None:  # fmt: skip
        self.model, self.loss_of, self.how, self.warmup, self.figures = model, loss_of, how, warmup, figures
        self.learning = dict(model.named_parameters())
        self.optimiser = torch.optim.AdamW(list(self.learning.values()), how.rate, weight_decay=decay)
        self.feed = Numbered(int)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / self.how.steps)
        return self.how.rate * min(1.0, (step + 1) / self.warmup) * cosine + 1e-6

    def take(self, batch: int) -> Taken:
        """One step of the optimiser; the batch is the step's number."""
        rate = self.rate_at(batch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(batch)  # of dropout
        loss = self.loss_of(batch)
        self.optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(list(self.learning.values()), 1.0)
        self.optimiser.step()
        figures = {"loss": loss.item(), "gradient_norm": float(norm), "learning_rate": rate}
        return Taken(figures, self.how.batch)

    def validate(self, step: int) -> dict[str, float]:
        """The figures."""
        del step
        return self.figures()

    def state(self) -> tuple[Parts, dict[str, Any]]:
        """Weights, buffers and moments."""
        parts = {"trained": self.model.state_dict(), "optimiser": moments(self.optimiser, self.learning)}
        return parts, {}

    def restore(self, parts: Parts, facts: Mapping[str, Any]) -> None:
        """Put back what `state` gave."""
        del facts
        self.model.load_state_dict(parts["trained"])
        restore_moments(self.optimiser, self.learning, parts["optimiser"])


def fit(
    model: nn.Module, loss_of: Callable[[int], Tensor], how: Steps, out: Path, *, warmup: int = 50,
    decay: float = 0.02, every: int = 0, figures: Callable[[], dict[str, float]] | None = None,
) -> None:  # fmt: skip
    """Train all parameters of `model` in the folder `out`, with a checkpoint every `every` steps (0: eight in all).

    `figures` are measured at each checkpoint and written to `validation.jsonl`.
    """
    out.mkdir(parents=True, exist_ok=True)
    every = every or max(1, how.steps // 8)
    loop = Loop(
        out, steps=how.steps, checkpoints=Checkpoints(every=every, keep=1), resume=True,
        facts={"config": dataclasses.asdict(how), "data": ""}, validate_every=every if figures else 0,
    )  # fmt: skip
    loop.run(FitStep(model, loss_of, how, warmup=warmup, decay=decay, figures=figures or dict))


def weights_of(out: Path) -> dict[str, Tensor]:
    """The weights and buffers that `fit` left in `out`. Raises UsageError where it left none."""
    stored = Keeper(out / "checkpoints", keep=1).last()
    if stored is None:
        raise UsageError(f"{out} holds no checkpoint: remove that folder, so that it is trained again.")
    return stored[1]["trained"]


def rows_at(step: int, rows: np.ndarray, batch: int) -> np.ndarray:
    """The rows of a step's batch, sorted: drawn from `rows` without repetition by a generator of the step's number."""
    chosen = np.random.default_rng([5, step]).choice(rows, size=min(batch, len(rows)), replace=False)
    return np.sort(chosen)
