"""Watching a training: `log.jsonl` (a line a step), the progress bar, TensorBoard, alarms before hours are lost."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.core.io import read_json_lines, write_text
from pixelsleuth.core.progress import Bar, progress
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import MissingExtra, OutputError, TrainingError

WINDOW = 30
"""Steps that the alarms look back."""
PAUSE = 20.0
"""Seconds between lines of progress where standard error is no terminal."""


class Log:
    """Lines of JSON, one a step; `rewind` forgets what came after the checkpoint that a training resumes from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int) -> None:
        """Keep the lines up to `step`; a line that a killed run left unfinished goes, too."""
        kept = [json.dumps(line) + "\n" for line in read_log(self.path) if line["step"] <= step]
        write_text(self.path, "".join(kept), kind="log")

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one line, whole. Raises OutputError."""
        try:
            with self.path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(
                f"Cannot write {self.path} ({error.strerror}): free some space and go on with --resume."
            ) from None


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; empty where there is none. Raises UsageError for a line that is no JSON."""
    return [line for _, line in read_json_lines(path)] if path.is_file() else []


class Alarms:
    """Sentences about a training that goes wrong, each reported once in `WINDOW` steps."""

    def __init__(self, *, masks: bool) -> None:
        self.masks = masks
        self.predicted: deque[np.ndarray] = deque(maxlen=WINDOW)
        self.with_mask: deque[int] = deque(maxlen=WINDOW)
        self.reported: dict[str, int] = {}
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
        causes = {}
        counts = np.sum(self.predicted, axis=0)
        if counts.max() == counts.sum():
            name = LABELS[int(counts.argmax())].replace("_", " ")
            causes["class"] = f"the head predicted {name} for every picture of the last {WINDOW} steps"
        if self.masks and not sum(self.with_mask):
            causes["mask"] = (
                f"no picture of the last {WINDOW} steps had a mask: the mask decoder learns nothing"
            )
        new = [text for cause, text in causes.items() if self._is_due(cause, step)]
        self.reported |= dict.fromkeys(causes, step) if new else {}
        return new

    def look_at_masks(self, step: int, empty: Collection[str], marked: bool) -> list[str]:
        """Take in which tampered pictures had a mask that marks nothing so far, and whether any other mask was read.

        Reported at once, then again where they have become more.
        """
        count = len(empty)
        if count == self.empty or not self._is_due("empty", step):
            return []
        self.empty, self.reported["empty"] = count, step
        text = f"{count} tampered picture{'s' if count > 1 else ''} with a mask that marks nothing, such as "
        text += next(iter(empty))
        return [text if marked else f"{text}: so far no mask marks anything, so no place is learnt"]

    def _is_due(self, cause: str, step: int) -> bool:
        return step - self.reported.get(cause, -WINDOW) >= WINDOW


class Progress:
    """What is shown of the steps: behind the bar on a terminal, else a line every `PAUSE` seconds.

    Args:
        bar: the bar.
        first, total: the step of the start, and the last.
        main: False shows nothing: another process does.
        parts: figures of a step that are shown.
        within: seconds after which the training ends, whatever its steps.
    """

    def __init__(
        self, bar: Bar, first: int, total: int, *, main: bool, parts: Sequence[str], within: float
    ) -> None:
        self.bar, self.first, self.total = bar, first, total
        self.main, self.parts, self.within = main, parts, within
        self.began, self.last = time.monotonic(), 0.0

    def step(self, step: int, line: Mapping[str, Any]) -> None:
        """Show one step."""
        shown = "  ".join(f"{name} {line[name]:.4f}" for name in self.parts)
        shown += f"  {line['pictures_per_second']:.1f} pictures/s"
        now = time.monotonic()
        ends = self.within - (now - self.began)
        self.bar.note(f"{shown}  ends in {ends / 60:.1f} min" if math.isfinite(ends) else shown, step)
        if not self.bar.live and (now - self.last >= PAUSE or step == self.total):
            left = min(ends, (now - self.began) / max(1, step - self.first) * (self.total - step))
            self.say(f"step {step}/{self.total}  {shown}  {left / 60:.1f} min left")
            self.last = now

    def say(self, text: str) -> None:
        """A sentence above the bar; nothing for an empty one."""
        if self.main and text:
            self.bar.say(text)


@contextlib.contextmanager
def watched(
    first: int, total: int, *, main: bool, parts: Sequence[str], within: float = math.inf
) -> Iterator[Progress]:
    """The progress of a training, with a bar while the block runs; arguments as for `Progress`."""
    with progress("Training", total, done=first, quiet=not main) as bar:
        yield Progress(bar, first, total, main=main, parts=parts, within=within)


class Board:
    """TensorBoard: a folder of its event files. Raises MissingExtra without the package."""

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
