"""The outputs of one `check`: text or records, masks, the HTML report, and notices on standard error.

An output that fails (a full disk, a folder without permission) is dropped with one sentence. The others go on, and the
exit status says that something was not written.
Verdicts that the file of `--output` does not take go to standard output.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pixelsleuth.checking.results import Results
from pixelsleuth.core.progress import Bar
from pixelsleuth.core.streams import undisturbed
from pixelsleuth.errors import OutputError, OutputInUse, PixelSleuthError
from pixelsleuth.reporting import words

if TYPE_CHECKING:
    from pixelsleuth.checking.mask_folder import MaskFolder
    from pixelsleuth.checking.runner import CheckOptions
    from pixelsleuth.core.outputs import RecordFile
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.evidence.enhancers import Enhancer
    from pixelsleuth.reporting.html import HtmlReport


PAGE_SECONDS = 10.0
"""Between two pages of a report that grows while a folder is watched."""
PAGE_SHARE = 20
"""How many times as long as a page takes to write, at least, until the next."""
MANY = 1000
"""Pictures for which the report of a watched folder chooses the size of its thumbnails."""


class Notices:
    """Lines on standard error, above the progress bar. `refused`: whether something could not be done."""

    def __init__(self) -> None:
        self.refused = False
        self.bar = Bar()

    def say(self, line: str) -> None:
        """Print one line."""
        self.bar.say(line)

    def refuse(self, error: PixelSleuthError) -> None:
        """Print what cannot be done; the run goes on and ends with exit status 2."""
        self.refused = True
        self.say(f"Error: {words.printable(error)}")


class Delivery:
    """Opens the outputs that `options` name, hands every verdict to each, and ends them."""

    def __init__(self, options: CheckOptions, notices: Notices) -> None:
        self.options, self.notices = options, notices
        self.file: RecordFile | None = None
        self.results: Results | None = None
        self.masks: MaskFolder | None = None
        self.report: HtmlReport | None = None
        self.unmasked = 0
        self._published, self._publish_at = 0, 0.0

    @property
    def any_open(self) -> bool:
        """True while at least one output takes verdicts."""
        return not (self.results is None and self.report is None and self.masks is None)

    def prepare(self, total: int | None) -> None:
        """Open the files for `total` pictures, None where nobody knows how many arrive.

        One that cannot be opened is left out with a notice. Raises OutputInUse.
        """
        report, output = self.options.report, self.options.output
        with self._dropping("report"):
            if report is not None:
                from pixelsleuth.reporting.html import HtmlReport

                if output is not None and Path(report).resolve() == Path(output).resolve():
                    raise OutputError("--report and --output name the same file; the report is left out.")
                self.report = HtmlReport(report, total=MANY if total is None else total)
                self.report.total = total
        with self._dropping("masks"):
            if self.options.save_masks is not None:
                from pixelsleuth.checking.mask_folder import MaskFolder

                self.masks = MaskFolder(self.options.save_masks)
        with self._dropping("file"):
            if output is not None:
                from pixelsleuth.checking.results import OUR_RECORDS
                from pixelsleuth.core.outputs import RecordFile

                keep = self.options.resume or self.options.watch
                self.file = RecordFile(output, ours=OUR_RECORDS, kind="output file", keep=keep)

    def begin(self, total: int) -> None:
        """Begin the text or the records. Not part of `prepare`: a run that fails before leaves the file as it was."""
        self._switch(lambda: Results(self.options.style, total, self.file))

    def write(self, verdict: Verdict) -> None:
        """Hand one verdict to every output that is still open."""
        mask_file: str | None = None
        if self.masks is not None:
            self.unmasked += verdict.ok and not verdict.located
            with self._dropping("masks"), undisturbed():
                mask_file = self.masks.save(verdict)
        # May be interrupted: the reader of standard output may never read on, and Ctrl-C must end that.
        with self.notices.bar.paused():
            self._put_into_results(verdict, mask_file)
        if verdict.error is not None and self.options.style != "text" and not self.options.quiet:
            self.notices.say(words.printable(verdict.error["message"]))
        with undisturbed():
            self.put_into_report(verdict, mask_file)

    def put_into_report(self, verdict: Verdict, mask_file: str | None = None) -> None:
        """Add one verdict to the report, if there is one; a verdict out of a record gets its picture from the file."""
        from pixelsleuth.checking.resume import with_picture

        with self._dropping("report"):
            if self.report is not None:
                if verdict.picture is None and verdict.ok:
                    verdict = with_picture(verdict, self.options.max_megapixels)
                self.report.add(verdict, mask_file=mask_file, looks=self._looks(verdict))

    def publish(self) -> None:
        """Write the page as it is now where there is something new and the last page is old enough."""
        now = time.monotonic()
        if self.report is None or self.report.done == self._published or now < self._publish_at:
            return
        with self._dropping("report"), undisturbed():
            self._published = self.report.done
            self.report.publish()
        self._publish_at = now + max(PAGE_SECONDS, PAGE_SHARE * (time.monotonic() - now))

    def give_up_file(self, error: OutputError) -> None:
        """Leave the file of `--output` as it was; the verdicts go to standard output."""
        if self.file is not None:
            self.file.discard()
            self.file = None
        self.notices.refuse(error)

    def finish(self, *, interrupted: bool) -> None:
        """End every output; a report of an interrupted run says so. A second signal does not cut it short."""
        with undisturbed(last=True):
            with self._dropping("report"):
                if self.report is not None:
                    self.report.close(interrupted=interrupted)
            try:
                if self.results is not None:
                    self.results.close()
            except OutputError as error:
                self.notices.refuse(error)

    def discard(self) -> None:
        """Leave no half-made output behind when nothing could be judged."""
        for output in (self.report, self.file):
            if output is not None:
                output.discard()

    def places(self) -> Iterator[str]:
        """One line for each output that was written to a file: where it is."""
        if self.report is not None:
            yield f"Report: {words.printable(self.report.path)}"
        if self.masks is not None:
            none = "; none is drawn where a verdict is not conclusively tampered" if self.unmasked else ""
            files = words.count(self.masks.written, "file")
            yield f"Masks: {files} in {words.printable(self.masks.folder)}{none}"
        if self.results is not None and self.results.file is not None:
            yield f"Output: {words.printable(self.options.output)}"

    def _looks(self, verdict: Verdict) -> list[Enhancer]:
        """The pictures to look at of a verdict, where a small report shows them."""
        wanted = self.options.evidence and self.report is not None and self.report.wants_looks
        if not wanted or verdict.picture is None:
            return []
        from pixelsleuth.evidence.enhancers import enhanced

        return enhanced(verdict.picture.pixels)

    def _put_into_results(self, verdict: Verdict, mask_file: str | None) -> None:
        while self.results is not None:
            try:
                self.results.add(verdict, mask_file)
                return
            except OutputError as error:
                self.notices.refuse(error)
                self._switch(self.results.instead)

    def _switch(self, make: Callable[[], Results | None]) -> None:
        with self._dropping("results"):
            self.results = make()

    @contextlib.contextmanager
    def _dropping(self, name: Literal["file", "results", "masks", "report"]) -> Iterator[None]:
        """Drop the output `name` where the block raises OutputError. OutputInUse passes: two such runs are a slip."""
        try:
            yield
        except OutputInUse:
            raise
        except OutputError as error:
            if name == "report" and self.report is not None:
                self.report.discard()
            setattr(self, name, None)
            self.notices.refuse(error)
