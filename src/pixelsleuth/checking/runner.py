"""One run of `check`: find the pictures, judge them one after another, hand each verdict to every output.

Where nothing is left to write to, the run stops.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pixelsleuth.checking.delivery import Delivery, Notices
from pixelsleuth.core.progress import Bar, progress
from pixelsleuth.errors import OutputError, PixelSleuthError, UsageError
from pixelsleuth.reporting import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixelsleuth.checking.watching import Arrivals
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.evidence.trust_lists import TrustLists

STRONGER = (
    "The bundled detector judges alone. Run `pixelsleuth models get auto` once for a stronger set "
    "(--quiet hides this line)."
)
ALL_JUDGED, SOME_FAILED, WRONG_USAGE, NAMED, INTERRUPTED = 0, 1, 2, 3, 130


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
    evidence: bool = True
    trust_list: str | None = None
    max_megapixels: float = 100.0
    batch_size: int | None = None
    accuse_at_most: float | None = None
    right_at_least: float | None = None
    stable: bool | None = None
    fail_on: tuple[str, ...] = ()
    watch: bool = False
    quiet: bool = False


def run_check(paths: list[str], options: CheckOptions) -> int:
    """Judge `paths` and return the exit status.

    Raises UsageError where nothing can be judged, and where `trust_list` holds no list.
    """
    from pixelsleuth.models.registry import load, options_of

    if (options.resume or options.watch) and (options.style != "jsonl" or options.output is None):
        option = "--watch" if options.watch else "--resume"
        raise UsageError(
            f"{option} goes on with a file of JSON lines; name it: --format jsonl --output FILE {option}."
        )
    run = Run(options)
    if options.trust_list is not None:
        from pixelsleuth.evidence.trust_lists import read_trust_lists

        run.trust = read_trust_lists(options.trust_list)
    arrivals = run.watch(paths) if options.watch else None
    sources = run.find(paths) if arrivals is None else arrivals.listed()
    if not sources and arrivals is None:
        return WRONG_USAGE
    # Outputs first: a report that cannot be written is refused before minutes of work, not after.
    try:
        run.outputs.prepare(len(sources) if arrivals is None else None)
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
        run.outputs.discard()
        raise
    run.announce(detector)
    if arrivals is not None:
        return run.judge(detector, arrivals.after(sources, todo), None)
    return run.judge(detector, todo, len(sources))


class Run:
    """The state of one run: its outputs, its notices and its counts."""

    def __init__(self, options: CheckOptions) -> None:
        self.options = options
        self.notices = Notices()
        self.outputs = Delivery(options, self.notices)
        self.states: Counter[str] = Counter()
        self.judged_before = 0
        self.trust: TrustLists | None = None
        with contextlib.suppress(
            AttributeError, ValueError
        ):  # a terminal of an old encoding must not end the run
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]

    def find(self, paths: list[str]) -> list[str]:
        """The pictures that `paths` stand for. Raises NoPictures where they are folders without pictures."""
        from pixelsleuth.pictures.images import find_pictures

        if not paths:
            self.notices.refuse(PixelSleuthError("Standard input named no picture; give one path a line."))
            return []
        return find_pictures(paths)

    def watch(self, paths: list[str]) -> Arrivals:
        """The pictures that arrive in folders. Raises UsageError where a path is no folder."""
        from pixelsleuth.checking.watching import Arrivals

        if self.options.batch_size not in (None, 1):
            raise UsageError("--watch judges pictures one by one as they arrive; leave out --batch-size.")
        options = self.options
        ours = [path for path in (options.output, options.report, options.save_masks) if path is not None]
        return Arrivals(paths, ours=ours, idle=self.outputs.publish)

    def announce(self, detector: Detector) -> None:
        """Print what a person should know of the detector before it judges."""
        if self.options.quiet:
            return
        for notice in detector.notices:
            self.notices.say(words.printable(notice))
        alone = self.options.model == "auto" and detector.name == "compact" and not detector.notices
        if alone and sys.stderr.isatty():
            self.notices.say(STRONGER)

    def resume(self, detector: Detector, sources: list[str]) -> list[str]:
        """Take over what an earlier run judged; return the sources that are left."""
        if not (self.options.resume or self.options.watch) or self.outputs.file is None:
            return sources
        from pixelsleuth.checking.resume import Earlier

        earlier = Earlier(self.outputs.file, detector.model)
        todo = earlier.split(sources)
        self.judged_before = len(sources) - len(todo)
        for verdict in earlier.verdicts():
            self.states[words.state_of(verdict)] += 1
            if self.outputs.report is not None:
                self.outputs.put_into_report(verdict)
        try:
            earlier.clean()
        except OutputError as error:
            self.outputs.give_up_file(error)
        return todo

    def judge(self, detector: Detector, sources: Iterable[str], total: int | None) -> int:
        """Judge every source, write every output, return the exit status.

        `total` is None where the pictures arrive until the user stops the run: that is no interruption.
        """
        options = self.options
        detector.max_megapixels = options.max_megapixels
        detector.examiner = None
        if options.evidence:
            from pixelsleuth.evidence.inspection import FileExaminer

            detector.examiner = FileExaminer(self.trust)
        interrupted = False
        try:
            self.outputs.begin(total or 0)
            # What arrives waits for no other picture.
            batch = 1 if total is None else options.batch_size or detector.beside
            verdicts = detector.check_many(sources, explain=options.explain, batch_size=batch)
            left = None if total is None else total - self.judged_before
            with progress("Checking", left, quiet=options.quiet or (left or 0) < 2) as self.notices.bar:
                for verdict in verdicts:
                    self.states[words.state_of(verdict)] += 1
                    self.outputs.write(verdict)
                    if total is None:
                        self.tell(verdict)
                    verdict.forget_picture()
                    self.notices.bar()
                    if not self.outputs.any_open:
                        break
        except KeyboardInterrupt:
            interrupted = total is not None
        except BaseException:
            self.outputs.finish(interrupted=True)
            raise
        finally:
            self.notices.bar = Bar()
        self.outputs.finish(interrupted=interrupted or self.states.total() < (total or 0))
        if not options.quiet:
            self.summarise(total, interrupted)
        if interrupted:
            return INTERRUPTED
        if self.notices.refused:
            return WRONG_USAGE
        if any(self.states[state] for state in options.fail_on):
            return NAMED
        return SOME_FAILED if self.states["failed"] else ALL_JUDGED

    def tell(self, verdict: Verdict) -> None:
        """Print a line on a picture that has arrived, and write the report anew where it is time."""
        if not self.options.quiet and verdict.ok:
            self.notices.say(f"{words.headline(verdict)}: {words.printable(verdict.source)}")
        self.outputs.publish()

    def summarise(self, total: int | None, interrupted: bool) -> None:
        """Print what was judged and where the files are."""
        say, done = self.notices.say, self.states.total()
        if total is None:
            say("The watch has ended; what arrives now is judged when it begins again.")
        elif interrupted:
            say(f"Stopped after {done} of {words.count(total, 'picture')}; what was judged is written.")
        elif done < total:
            say(f"Stopped after {done} of {words.count(total, 'picture')}: nothing was left to write to.")
        if self.judged_before:
            say(f"{words.count(self.judged_before, 'picture')} had been judged before.")
        if done > 1:
            say(f"{words.count(done, 'picture')}: {words.tally(self.states)}.")
        for line in self.outputs.places():
            say(line)
