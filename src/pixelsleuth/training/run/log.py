"""Watching a training: `log.jsonl` (a line a step), the progress bar, TensorBoard, alarms before hours are lost."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.errors import MissingExtra, OutputError, TrainingError

SHOWN = ("loss", "detection", "text", "bce", "dice")
WINDOW = 30
"""Steps that the alarms look back."""


class Log:
    """Lines of JSON, one a step; `rewind` forgets what came after the checkpoint that a training resumes from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int) -> None:
        """Keep the lines up to `step`; a line that a killed run left unfinished goes, too."""
        kept = [json.dumps(line) + "\n" for line in read_log(self.path) if line["step"] <= step]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(kept))
        os.replace(partial, self.path)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one line, whole."""
        try:
            with self.path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(
                f"Cannot write {self.path} ({error.strerror}): free some space and go on with --resume."
            ) from None


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; empty where there is none."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


class Alarms:
    """Sentences about a training that goes wrong, each told once in `WINDOW` steps."""

    def __init__(self, *, masks: bool) -> None:
        self.masks = masks
        self.predicted: deque[np.ndarray] = deque(maxlen=WINDOW)
        self.with_mask: deque[int] = deque(maxlen=WINDOW)
        self.told: dict[str, int] = {}
        self.empty = 0

    def look(
        self, step: int, loss: Mapping[str, float], predicted: np.ndarray | None, with_mask: int
    ) -> list[str]:
        """Take in one step: its losses, how often each class was predicted (3,) or None, pictures with a mask.

        Raises:
            TrainingError: the loss is not finite.
        """
        if not all(math.isfinite(value) for value in loss.values()):
            parts = ", ".join(f"{name} {value:g}" for name, value in loss.items())
            raise TrainingError(
                f"The loss of step {step} is not finite ({parts}): resume with a lower optimiser.learning_rate in a "
                "new out, or with precision=fp32."
            )
        if predicted is None:
            return []
        self.predicted.append(predicted)
        self.with_mask.append(with_mask)
        if len(self.predicted) < WINDOW:
            return []
        found = {}
        counts = np.sum(self.predicted, axis=0)
        if counts.max() == counts.sum():
            name = ("real", "full synthetic", "tampered")[int(counts.argmax())]
            found["class"] = f"the head predicted {name} for every picture of the last {WINDOW} steps"
        if self.masks and not sum(self.with_mask):
            found["mask"] = (
                f"no picture of the last {WINDOW} steps had a mask: the mask decoder learns nothing"
            )
        told = [text for kind, text in found.items() if step - self.told.get(kind, -WINDOW) >= WINDOW]
        self.told |= dict.fromkeys(found, step) if told else {}
        return told

    def look_at_masks(self, step: int, empty: Collection[str], marked: bool) -> list[str]:
        """Take in which tampered pictures had a mask that marks nothing so far, and whether any other mask was seen.

        Told at once, then again where they have become more.
        """
        if not empty or (len(empty) == self.empty or step - self.told.get("empty", -WINDOW) < WINDOW):
            return []
        self.empty, self.told["empty"] = len(empty), step
        count, rest = len(empty), "so far no mask marks anything, so no place is learnt" if not marked else ""
        text = f"{count} tampered picture{'s' if count > 1 else ''} with a mask that marks nothing, such as "
        return [f"{text}{next(iter(empty))}{': ' + rest if rest else ''}"]


class Progress:
    """A bar on a terminal, a line every so often elsewhere; loss parts, pictures a second, time left. `within`: seconds
    after which the training ends, whatever its steps."""

    def __init__(
        self,
        first: int,
        total: int,
        *,
        show: bool,
        every: float = 20.0,
        parts: Sequence[str] = SHOWN,
        within: float = math.inf,
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.console = Console(stderr=True)
        self.show, self.every, self.last, self.parts = show, every, 0.0, parts
        self.first, self.total, self.began, self.within = first, total, time.monotonic(), within
        self.live = show and self.console.is_terminal
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Bar(*columns, console=self.console, disable=not self.live)
        self.task = self.bar.add_task("", total=total, completed=first)

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, step: int, line: Mapping[str, Any]) -> None:
        """Show one step."""
        shown = "  ".join(f"{key} {line[key]:.4f}" for key in self.parts)
        shown += f"  {line['pictures_per_second']:.1f} pictures/s"
        now = time.monotonic()
        ends = self.within - (now - self.began)
        told = f"  ends in {ends / 60:.1f} min" if math.isfinite(ends) else ""
        self.bar.update(self.task, completed=step, description=shown + told)
        if self.show and not self.live and (now - self.last >= self.every or step == self.total):
            left = min(ends, (now - self.began) / max(1, step - self.first) * (self.total - step))
            self.console.print(
                f"step {step}/{self.total}  {shown}  {left / 60:.1f} min left", highlight=False
            )
            self.last = now

    def say(self, text: str) -> None:
        """A sentence above the bar."""
        if self.show and text:
            self.console.print(text, highlight=False)


class Board:
    """TensorBoard, where it is asked for."""

    def __init__(self, folder: Path, *, first: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra("tensorboard", "train") from None
        self.writer = SummaryWriter(str(folder), purge_step=first + 1)

    def add(self, step: int, values: Mapping[str, Any], group: str) -> None:
        """Every number among `values`."""
        for name, value in values.items():
            if name != "step" and isinstance(value, int | float):
                self.writer.add_scalar(f"{group}/{name}", value, step)
        self.writer.flush()
