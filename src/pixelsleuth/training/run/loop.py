"""The one training loop: steps, alarms, log, validation, checkpoints, resume, and the model at the end.

A training is a `Step`: the network, its optimiser and the feed of its batches. `Loop` runs it and knows no network.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pixelsleuth.core.io import replaced
from pixelsleuth.errors import OutputError
from pixelsleuth.training.run.checkpoints import Keeper, ensure_same, find
from pixelsleuth.training.run.feed import Batches
from pixelsleuth.training.run.log import Alarms, Board, Log, Progress, watched
from pixelsleuth.training.run.plots import plot_log
from pixelsleuth.training.run.settings import FREE, Checkpoints

Parts = dict[str, dict[str, Tensor]]
"""Tensors of a checkpoint by file: `trained`, `optimiser`, `random`."""


@dataclass
class Taken:
    """One step of the optimiser.

    Attributes:
        figures: its line of the log: `loss`, the parts of the loss, gradient_norm, learning_rate.
        pictures: their number over all processes.
        predicted: how often each class was predicted (3,); None where nobody counts.
        masks: pictures with a mask.
    """

    figures: dict[str, Any]
    pictures: int
    predicted: np.ndarray | None = None
    masks: int = 0


class Step(ABC):
    """What one kind of training adds to the loop."""

    feed: Batches[Any]
    main: bool = True
    """True in the process that writes."""
    parts: tuple[str, ...] = ("loss",)
    """Figures of a step that must be finite; the progress bar shows them."""
    learns_masks: bool = False

    @abstractmethod
    def take(self, batch: Any) -> Taken:
        """Learn from one batch."""

    @abstractmethod
    def state(self) -> tuple[Parts, dict[str, Any]]:
        """Tensors and facts (JSON) that a checkpoint keeps; called in every process."""

    @abstractmethod
    def restore(self, parts: Parts, facts: Mapping[str, Any]) -> None:
        """Put back what `state` gave."""

    def validate(self, step: int) -> dict[str, float]:
        """Figures of a validation; `score` or the metric of the recipe chooses the best checkpoint."""
        raise NotImplementedError

    def lower(self, value: float) -> str:
        """Lower the learning rate where `value` of a validation asks for it; the sentence that says so."""
        del value
        return ""

    def exhausted(self) -> bool:
        """True where more steps would change nothing."""
        return False

    def wait(self) -> None:
        """Wait for the other processes, where there are any."""
        return

    def save_model(self, checkpoint: Path, folder: Path) -> None:
        """Write the model of a checkpoint into the new `folder`."""
        raise NotImplementedError


class Loop:
    """One training, in one folder.

    Args:
        out: its folder, which exists.
        steps: where it ends.
        checkpoints: how often, how many are kept, and what chooses the best.
        facts: what a resumed training must have in common: `config` (settings as plain values) and `data` (a digest).
        free: keys of `config` that a resumed training may change.
        resume: go on from the newest checkpoint, where there is one.
        validate_every: steps between validations, 0 for none.
        minutes: of training, after which it ends; 0 for no limit.
        tensorboard: also write `out/tensorboard`.

    Raises:
        UsageError: the checkpoints are damaged, or of another configuration or other data.
    """

    def __init__(
        self, out: Path, *, steps: int, checkpoints: Checkpoints, facts: Mapping[str, Any], resume: bool,
        free: Collection[str] = FREE, validate_every: int = 0, minutes: float = 0.0, tensorboard: bool = False,
    ) -> None:  # fmt: skip
        self.out, self.steps, self.checkpoints = out, steps, checkpoints
        self.facts = json.loads(json.dumps(facts))  # as a checkpoint gives them back
        self.validate_every, self.tensorboard = validate_every, tensorboard
        self.seconds = 60 * minutes if minutes else math.inf
        self.keeper = Keeper(out / "checkpoints", keep=checkpoints.keep)
        self.log, self.validation_log = Log(out / "log.jsonl"), Log(out / "validation.jsonl")
        self.step, self.spent, self.last = 0, 0.0, 0.0
        self.best: dict[str, Any] = {"name": "", "value": -math.inf, "step": -1}
        self.stored = self.keeper.last() if resume else None
        if self.stored is not None:
            ensure_same(self.stored[0], self.facts, out, free)

    def run(self, step: Step) -> None:
        """Train to the last step.

        Raises:
            TrainingError: the loss is not finite. OutputError: the disk is full.
        """
        self._begin(step)
        alarms = Alarms(masks=step.learns_masks)
        board = Board(self.out / "tensorboard", first=self.step) if self.tensorboard and step.main else None
        left = self.seconds - self.spent
        with watched(self.step, self.steps, main=step.main, parts=step.parts, within=left) as progress:
            if self.step:
                progress.say(f"Resumed after step {self.step}.")
            last = self.step if self._over(step) else self.steps
            self.last = time.monotonic()
            for batch, state in step.feed.batches(self.step, last):
                self._take(step, batch, alarms, progress, board)
                checked = self._check(step, progress, board)
                over = self._over(step)
                if checked or over or self.step % self.checkpoints.every == 0:
                    self._save(step, state, progress, last=over)
                if over:
                    break
            progress.say(step.feed.remarks())

    def _begin(self, step: Step) -> None:
        """Restore the checkpoint, if any; the logs forget what came after it."""
        if self.stored is not None:
            facts, parts = self.stored
            step.restore(parts, facts)
            step.feed.restore(facts["sampler"])
            self.step, self.spent = int(facts["step"]), float(facts.get("spent", 0.0))
            self.best, self.stored = facts["best"] or self.best, None
        if step.main:
            self.log.rewind(self.step)
            self.validation_log.rewind(self.step)

    def _over(self, step: Step) -> bool:
        """True after the last step, the last minute, or where more steps would change nothing."""
        return self.step >= self.steps or self.spent >= self.seconds or step.exhausted()

    def _take(self, step: Step, batch: Any, alarms: Alarms, progress: Progress, board: Board | None) -> None:
        """One step, its alarms, and its line of the log."""
        taken = step.take(batch)
        self.step += 1
        now = time.monotonic()
        seconds, self.last = now - self.last, now
        self.spent += seconds
        line = {
            "step": self.step, **taken.figures, "pictures_per_second": round(taken.pictures / seconds, 3),
            "seconds": round(seconds, 3),
        }  # fmt: skip
        losses = {name: line[name] for name in step.parts}
        sentences = alarms.look(self.step, losses, taken.predicted, taken.masks)
        if step.learns_masks:
            sentences += step.feed.alarms(alarms, self.step)
        for sentence in sentences:
            line.setdefault("alarms", []).append(sentence)
            progress.say(f"Alarm at step {self.step}: {sentence}.")
        if step.main:
            self.log.add(line)
            progress.step(self.step, line)
            if board:
                board.add(self.step, line, "train")

    def _check(self, step: Step, progress: Progress, board: Board | None) -> bool:
        """Validate where it is due; True where it was."""
        if not self.validate_every or (self.step % self.validate_every and self.step != self.steps):
            return False
        figures = step.validate(self.step)
        value = figures.get(self.checkpoints.metric, figures.get("score", -math.inf))
        if value > self.best["value"]:
            self.best = {"name": f"best-{self.step:07d}", "value": value, "step": self.step}
        progress.say(step.lower(value))
        if step.main:
            self.validation_log.add({"step": self.step, **figures})
            if board:
                board.add(self.step, figures, "validation")
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())
        progress.say(f"Validation at step {self.step}: {shown}.")
        self.last = time.monotonic()  # validation counts neither for `minutes` nor for pictures a second
        return True

    def _save(self, step: Step, sampler: Any, progress: Progress, *, last: bool) -> None:
        """Write a checkpoint; a full disk ends the training only at the last one."""
        parts, facts = step.state()
        facts = self.facts | facts | {
            "step": self.step, "sampler": sampler, "spent": self.spent,
            "best": self.best if self.best["name"] else None,
        }  # fmt: skip
        try:
            if step.main:
                if self.best["step"] == self.step:
                    self.keeper.write(self.best["name"], {"trained": parts["trained"]}, facts)
                self.keeper.write(f"step-{self.step:07d}", parts, facts)
                self.keeper.purge(self.best["name"])
        except OSError as error:
            why = error.strerror or error
            if last:
                raise OutputError(
                    f"The last checkpoint cannot be written to {self.keeper.folder} ({why}): free some space and go on "
                    "with --resume."
                ) from None
            progress.say(f"No checkpoint at step {self.step} ({why}); the training goes on.")
        step.wait()

    def finish(self, step: Step) -> Path:
        """Write plots and `out/model`: the best checkpoint by validation where there was one, else the last.

        Raises:
            OutputError: the disk is full.
        """
        step.wait()
        target = self.out / "model"
        if not step.main:
            return target
        checkpoint = find(self.out)
        assert checkpoint is not None  # the last step wrote one
        try:
            with replaced(target) as folder:
                folder.mkdir()
                step.save_model(checkpoint, folder)
            plot_log(self.out)
        except OSError as error:
            raise OutputError(
                f"The model cannot be written to {target} ({error.strerror}): free some space and go on with --resume."
            ) from None
        return target
