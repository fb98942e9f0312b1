"""One run of `check`: find the pictures, judge them one after another, hand each verdict to every output.

An output that fails (a full disk, a folder without permission) is dropped with one sentence; the others go
on, the pictures are still judged, and the exit status says that something was not written.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pixelsleuth.core.errors import OutputError, PixelSleuthError
from pixelsleuth.reporting import words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.reporting.files import MaskFolder
    from pixelsleuth.reporting.html import HtmlReport
    from pixelsleuth.reporting.records import JsonRecords
    from pixelsleuth.reporting.terminal import TerminalText

ALL_JUDGED, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class CheckOptions:
    """The options of one run; the defaults are those of the command."""

    model: str = "compact"
    style: str = "text"
    report: str | None = None
    save_masks: str | None = None
    output: str | None = None
    device: str = "auto"
    precision: str = "auto"
    weights: str | None = None
    options: tuple[str, ...] = ()
    explain: bool = True
    max_megapixels: float = 100.0
    batch_size: int = 1
    quiet: bool = False


def run_check(paths: list[str], options: CheckOptions) -> int:
    """Judge `paths` and return the exit status. Raises UnknownModel and MissingExtra: nothing can be done
    then.
    """
    from pixelsleuth.core.choices import options_of
    from pixelsleuth.core.registry import load

    run = Run(options)
    sources = run.find(paths)
    if not sources:
        return WRONG_USAGE
    # Outputs first: a report that cannot be written is told before minutes of work, not after.
    run.open_outputs(len(sources))
    try:
        detector = load(
            options.model,
            device=options.device,
            precision=options.precision,
            weights=options.weights,
            options=options_of([options.model], options.options)[options.model],
        )
    except BaseException:
        run.discard()
        raise
    return run.judge(detector, sources)


class Run:
    """The state of one run: its outputs, its counts, and whether anything had to be refused."""

    def __init__(self, options: CheckOptions) -> None:
        self.options = options
        self.refused = False
        self.states: Counter[str] = Counter()
        self.stream: IO[str] = sys.stdout
        self.console: Console | None = None
        self.masks: MaskFolder | None = None
        self.report: HtmlReport | None = None
        self.bar: Progress | None = None
        self.results: TerminalText | JsonRecords
        with contextlib.suppress(
            AttributeError, ValueError
        ):  # a terminal of an old encoding must not end the run
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]

    def find(self, paths: list[str]) -> list[str]:
        """Return the pictures that `paths` stand for. Raises NoPictures where folders are all there is, and
        empty.
        """
        from pixelsleuth.core.images import find_pictures

        if not paths:
            self.refuse(PixelSleuthError("Standard input named no picture; give one path a line."))
            return []
        return find_pictures(paths)

    def refuse(self, error: PixelSleuthError) -> None:
        """Say on standard error what cannot be done; the run goes on and ends with exit status 2."""
        self.refused = True
        self.say(f"Error: {words.printable(error)}")

    def say(self, line: str) -> None:
        with self.paused():
            print(line, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the progress bar out of a line of output."""
        if self.bar is not None:
            self.bar.stop()
        yield
        if self.bar is not None:
            self.bar.start()

    def open_outputs(self, total: int) -> None:
        """Open every output; one that cannot be opened is told and left out."""
        from pixelsleuth.reporting.files import MaskFolder, open_output
        from pixelsleuth.reporting.html import HtmlReport

        options = self.options
        with self.refusing():
            if options.report is not None:
                if (
                    options.output is not None
                    and Path(options.report).resolve() == Path(options.output).resolve()
                ):
                    raise OutputError("--report and --output name the same file; the report is left out.")
                self.report = HtmlReport(options.report, total=total)
        with self.refusing():
            if options.save_masks is not None:
                self.masks = MaskFolder(options.save_masks)
        with self.refusing():
            if options.output is not None:
                self.stream = open_output(options.output)
        if options.style == "text":
            from pixelsleuth.reporting.terminal import TerminalText, console_for

            self.console = console_for(self.stream)
            self.results = TerminalText(self.console, total=total)
        else:
            from pixelsleuth.reporting.records import JsonRecords

            self.results = JsonRecords(self.stream, lines=options.style == "jsonl")

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            self.refuse(error)

    def judge(self, detector: Detector, sources: list[str]) -> int:
        """Judge every source, write every output, return the exit status."""
        options = self.options
        detector.max_megapixels = options.max_megapixels
        interrupted = False
        try:
            with self.progress(len(sources)) as step:
                verdicts = detector.check_many(
                    sources, explain=options.explain, batch_size=options.batch_size
                )
                for verdict in verdicts:
                    self.write(verdict)
                    verdict.forget_picture()
                    step()
        except KeyboardInterrupt:
            interrupted = True
        except BaseException:  # a closed pipe, say: the report is still written
            self.finish(interrupted=True)
            raise
        self.finish(interrupted=interrupted)
        self.summarise(len(sources), interrupted)
        if interrupted:
            return INTERRUPTED
        if self.refused:
            return WRONG_USAGE
        return SOME_FAILED if self.states["failed"] else ALL_JUDGED

    def write(self, verdict: Verdict) -> None:
        """Hand one verdict to every output that is still open."""
        self.states[words.state_of(verdict)] += 1
        mask_file: str | None = None
        if self.masks is not None:
            try:
                mask_file = self.masks.save(verdict)
            except OutputError as error:
                self.masks = None
                self.refuse(error)
        with self.paused():
            self.results.add(verdict, mask_file)
            self.stream.flush()
        if verdict.error is not None and self.options.style != "text" and not self.options.quiet:
            self.say(words.printable(verdict.error["message"]))
        if self.report is not None:
            try:
                self.report.add(verdict, mask_file=mask_file)
            except OutputError as error:
                self.report.discard()
                self.report = None
                self.refuse(error)

    def finish(self, *, interrupted: bool) -> None:
        """End every output; a report of an interrupted run says so."""
        if self.report is not None:
            try:
                self.report.close(interrupted=interrupted)
            except OutputError as error:
                self.report = None
                self.refuse(error)
        with contextlib.suppress(BrokenPipeError):
            close = getattr(self.results, "close", None)
            if close is not None:
                close()
            self.stream.flush()
        if self.stream is not sys.stdout:
            self.stream.close()

    def discard(self) -> None:
        """Leave no half-made output behind when nothing could be judged."""
        if self.report is not None:
            self.report.discard()
        if self.stream is not sys.stdout:
            self.stream.close()

    def summarise(self, total: int, interrupted: bool) -> None:
        """Tell on standard error what was judged and where the files are."""
        if self.options.quiet:
            return
        done = sum(self.states.values())
        if interrupted:
            self.say(f"Stopped after {done} of {words.count(total, 'picture')}; what was judged is written.")
        if done > 1:
            self.say(f"{words.count(done, 'picture')}: {words.tally(self.states)}.")
        if self.report is not None:
            self.say(f"Report: {words.printable(self.report.path)}")
        if self.masks is not None:
            self.say(
                f"Masks: {words.count(self.masks.written, 'file')} in {words.printable(self.masks.folder)}"
            )
        if self.options.output is not None and self.stream is not sys.stdout:
            self.say(f"Output: {words.printable(self.options.output)}")

    @contextlib.contextmanager
    def progress(self, total: int) -> Iterator[Any]:
        """A progress bar on standard error for more than one picture, where someone is there to see it."""
        if total < 2 or self.options.quiet or not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from pixelsleuth.reporting.terminal import console_for

        columns = (
            TextColumn("Checking"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
        )
        bar = Progress(*columns, console=console_for(stderr=True), transient=True, redirect_stdout=False)
        task = bar.add_task("", total=total)
        self.bar = bar
        try:
            with bar:
                yield lambda: bar.advance(task)
        finally:
            self.bar = None
