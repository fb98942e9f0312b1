"""One run of `check`: find the pictures, judge them one after another, hand each verdict to every output.

An output that fails (a full disk, a folder without permission) is dropped with one sentence; the others go
on, the pictures are still judged, and the exit status says that something was not written. Verdicts that
the file of `--output` does not take go to standard output; where nothing is left to write to, the run stops.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.cli.results import Results
from pixelsleuth.cli.streams import undisturbed
from pixelsleuth.errors import OutputError, OutputInUse, PixelSleuthError, UsageError
from pixelsleuth.reporting import words

if TYPE_CHECKING:
    from rich.progress import Progress

    from pixelsleuth.cli.resume import Earlier
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.outputs import RecordFile
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.reporting.files import MaskFolder
    from pixelsleuth.reporting.html import HtmlReport

STRONGER = (
    "The bundled detector judges alone. Run `pixelsleuth models get auto` once for a stronger set "
    "(--quiet hides this line)."
)
ALL_JUDGED, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class CheckOptions:
    """The options of one run; the defaults are those of the command."""

    model: str = "auto"
    style: str = "text"
    report: str | None = None
    save_masks: str | None = None
    output: str | None = None
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"
    weights: str | None = None
    options: tuple[str, ...] = ()
    explain: bool = True
    max_megapixels: float = 100.0
    batch_size: int = 1
    accuse_at_most: float | None = None
    right_at_least: float | None = None
    stable: bool | None = None
    quiet: bool = False


def run_check(paths: list[str], options: CheckOptions) -> int:
    """Judge `paths` and return the exit status. Raises UnknownModel and MissingExtra: nothing can be done
    then.
    """
    from pixelsleuth.models.choices import options_of
    from pixelsleuth.models.registry import load

    if options.resume and (options.style != "jsonl" or options.output is None):
        raise UsageError(
            "--resume goes on with a file of JSON lines; name it: --format jsonl --output FILE --resume."
        )
    run = Run(options)
    sources = run.find(paths)
    if not sources:
        return WRONG_USAGE
    # Outputs first: a report that cannot be written is told before minutes of work, not after.
    try:
        run.open_outputs(len(sources))
        detector = load(
            options.model,
            device=options.device,
            precision=options.precision,
            weights=options.weights,
            options=options_of([options.model], options.options)[options.model],
        )
        detector.decide_as(options.accuse_at_most, options.right_at_least, options.stable)
        todo = run.resume(detector, sources)
    except BaseException:
        run.discard()
        raise
    run.announce(detector)
    return run.judge(detector, todo, len(sources))


class Run:
    """The state of one run: its outputs, its counts, and whether anything had to be refused."""

    def __init__(self, options: CheckOptions) -> None:
        self.options = options
        self.refused = False
        self.states: Counter[str] = Counter()
        self.before = 0
        self.unmasked = 0
        self.file: RecordFile | None = None
        self.results: Results | None = None
        self.masks: MaskFolder | None = None
        self.report: HtmlReport | None = None
        self.bar: Progress | None = None
        with contextlib.suppress(
            AttributeError, ValueError
        ):  # a terminal of an old encoding must not end the run
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]

    def announce(self, detector: Detector) -> None:
        """Say on standard error what a person should know of the detector; once, and not to programs."""
        if self.options.quiet:
            return
        for notice in detector.notices:
            self.say(words.printable(notice))
        alone = self.options.model == "auto" and detector.name == "compact" and not detector.notices
        if alone and sys.stderr.isatty():
            self.say(STRONGER)

    def find(self, paths: list[str]) -> list[str]:
        """Return the pictures that `paths` stand for. Raises NoPictures where folders are all there is, and
        empty.
        """
        from pixelsleuth.pictures.images import find_pictures

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
        """Open every output; one that cannot be opened is told and left out. Raises OutputInUse: another run is
        at work on the same file, and doing it all twice is a slip.
        """
        from pixelsleuth.core.outputs import RecordFile
        from pixelsleuth.reporting.files import OUR_RECORDS, MaskFolder
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
                self.file = RecordFile(
                    options.output, ours=OUR_RECORDS, kind="output file", keep=options.resume
                )

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        try:
            yield
        except OutputInUse:
            raise
        except OutputError as error:
            self.refuse(error)

    def resume(self, detector: Detector, sources: list[str]) -> list[str]:
        """Take over what an earlier run has judged, and return the sources that are left."""
        if not self.options.resume or self.file is None:
            return sources
        from pixelsleuth.cli.resume import Earlier

        earlier = Earlier(self.file, detector.model)
        todo = earlier.split(sources)
        self.before = len(sources) - len(todo)
        self._take_over(earlier)
        try:
            earlier.clean()
        except OutputError as error:
            self.file.discard()
            self.file = None
            self.refuse(error)
        return todo

    def _take_over(self, earlier: Earlier) -> None:
        from pixelsleuth.cli.resume import with_picture

        for verdict in earlier.verdicts():
            self.states[words.state_of(verdict)] += 1
            if self.report is not None:
                self._put_into_report(with_picture(verdict, self.options.max_megapixels), None)

    def judge(self, detector: Detector, sources: list[str], total: int) -> int:
        """Judge every source, write every output, return the exit status."""
        options = self.options
        detector.max_megapixels = options.max_megapixels
        interrupted = False
        try:
            self._begin(total)
            with self.progress(len(sources)) as step:
                verdicts = detector.check_many(
                    sources, explain=options.explain, batch_size=options.batch_size
                )
                for verdict in verdicts:
                    self.write(verdict)
                    verdict.forget_picture()
                    step()
                    if self.results is None and self.report is None and self.masks is None:
                        break
        except KeyboardInterrupt:
            interrupted = True
        except BaseException:
            self.finish(interrupted=True)
            raise
        done = sum(self.states.values())
        self.finish(interrupted=interrupted or done < total)
        self.summarise(total, interrupted)
        if interrupted:
            return INTERRUPTED
        if self.refused:
            return WRONG_USAGE
        return SOME_FAILED if self.states["failed"] else ALL_JUDGED

    def _begin(self, total: int) -> None:
        """Begin the text or the records; what can only be begun on a disk that is not full begins elsewhere."""
        self._results_after(lambda: Results(self.options.style, total, self.file))

    def _results_after(self, make: Callable[[], Results | None]) -> None:
        try:
            self.results = make()
        except OutputError as error:
            self.results = None
            self.refuse(error)

    def write(self, verdict: Verdict) -> None:
        """Hand one verdict to every output that is still open."""
        self.states[words.state_of(verdict)] += 1
        mask_file: str | None = None
        if self.masks is not None:
            self.unmasked += verdict.ok and not verdict.located
            try:
                with undisturbed():
                    mask_file = self.masks.save(verdict)
            except OutputError as error:
                self.masks = None
                self.refuse(error)
        # Not put off: whoever reads standard output may never read on, and Ctrl-C must end that.
        with self.paused():
            self._put_into_results(verdict, mask_file)
        if verdict.error is not None and self.options.style != "text" and not self.options.quiet:
            self.say(words.printable(verdict.error["message"]))
        if self.report is not None:
            with undisturbed():
                self._put_into_report(verdict, mask_file)

    def _put_into_results(self, verdict: Verdict, mask_file: str | None) -> None:
        while self.results is not None:
            try:
                self.results.add(verdict, mask_file)
                return
            except OutputError as error:
                self.refuse(error)
                self._results_after(self.results.instead)

    def _put_into_report(self, verdict: Verdict, mask_file: str | None) -> None:
        if self.report is None:
            return
        try:
            self.report.add(verdict, mask_file=mask_file)
        except OutputError as error:
            self.report.discard()
            self.report = None
            self.refuse(error)

    def finish(self, *, interrupted: bool) -> None:
        """End every output; a report of an interrupted run says so. A second signal does not cut it short."""
        with undisturbed(last=True):
            if self.report is not None:
                try:
                    self.report.close(interrupted=interrupted)
                except OutputError as error:
                    self.report = None
                    self.refuse(error)
            if self.results is not None:
                try:
                    self.results.close()
                except OutputError as error:
                    self.refuse(error)

    def discard(self) -> None:
        """Leave no half-made output behind when nothing could be judged."""
        if self.report is not None:
            self.report.discard()
        if self.file is not None:
            self.file.discard()

    def summarise(self, total: int, interrupted: bool) -> None:
        """Tell on standard error what was judged and where the files are."""
        if self.options.quiet:
            return
        done = sum(self.states.values())
        if interrupted:
            self.say(f"Stopped after {done} of {words.count(total, 'picture')}; what was judged is written.")
        elif done < total:
            self.say(
                f"Stopped after {done} of {words.count(total, 'picture')}: nothing was left to write to."
            )
        if self.before:
            self.say(f"{words.count(self.before, 'picture')} had been judged before.")
        if done > 1:
            self.say(f"{words.count(done, 'picture')}: {words.tally(self.states)}.")
        if self.report is not None:
            self.say(f"Report: {words.printable(self.report.path)}")
        if self.masks is not None:
            none = "; none is drawn where a verdict is not conclusively tampered" if self.unmasked else ""
            self.say(
                f"Masks: {words.count(self.masks.written, 'file')} in "
                f"{words.printable(self.masks.folder)}{none}"
            )
        if self.results is not None and self.results.file is not None:
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
