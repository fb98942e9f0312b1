"""The progress bar of all long work: on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """A bar, or nothing where there is no terminal. `bar(3)` advances it by three."""

    def __init__(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        self._progress, self._task = progress, task

    @property
    def live(self) -> bool:
        """True where a bar is on the screen."""
        return self._progress is not None

    def __call__(self, count: int = 1) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)

    def say(self, text: str) -> None:
        """Print a line above the bar, on standard error also where there is no bar."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def begin(self, title: str, total: int | None, done: int = 0) -> None:
        """Start over with another title and total: the next file, the next stage."""
        if self._progress is not None and self._task is not None:
            self._progress.reset(self._task, total=total, completed=done, description=title)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar off the screen while the block prints to standard output."""
        if self._progress is not None:
            self._progress.stop()
        yield
        if self._progress is not None:
            self._progress.start()

    def note(self, text: str, done: int | None = None) -> None:
        """Set the words behind the bar, and how much is done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, note=text)


@contextlib.contextmanager
def progress(
    title: str, total: int | None = None, *, done: int = 0, quiet: bool = False, size: bool = False
) -> Iterator[Bar]:
    """Show a bar while the block runs, and yield it.

    Args:
        title: what stands before the bar.
        total: how much there is to do; None where it is unknown (a count and the time spent are shown).
        done: how much was done before.
        quiet: no bar. There is none either where standard error is no terminal.
        size: the count is in bytes.
    """
    if quiet or not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn() if total is not None or size else SpinnerColumn(),
        DownloadColumn() if size else MofNCompleteColumn(),
        TimeRemainingColumn(compact=True) if total is not None or size else TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True, highlight=False, emoji=False)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bars:
        yield Bar(bars, bars.add_task(title, total=total, completed=done, note=""))
