"""One run of `summarise`: count the parts that stand, print the figures, write the page and the exports."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.progress import Bar
from pixelsleuth.errors import OutputError, UsageError
from pixelsleuth.reporting import words
from pixelsleuth.reporting.words import percent, printable
from pixelsleuth.scale.exports import check_name, export
from pixelsleuth.scale.plots import MOST_SOURCES, duration, moment, shares, sources
from pixelsleuth.scale.records import Records
from pixelsleuth.scale.results import Results
from pixelsleuth.scale.summary import BINS, KINDS, Summary, summarise
from pixelsleuth.scale.summary_page import problem_lines, write_page

if TYPE_CHECKING:
    from rich.console import Console

    from pixelsleuth.scale.summary import Counts

WHOLE, SOME_LEFT_OUT, NOT_WRITTEN = 0, 1, 2
BAR = 40
"""Characters of the longest bar."""
MOST_BARS = 16
"""Intervals of the table by time in a terminal."""
MOST_ERRORS = 20
"""Error codes that are listed."""
NAME = 28
"""Characters of a source's name in a terminal."""


@dataclass(frozen=True)
class SummaryOptions:
    """The options of one run; the defaults are those of the command."""

    style: str = "text"
    report: str | None = None
    export: tuple[str, ...] = ()
    top: int = 50
    pictures: bool = True
    root: str | None = None


def run_summarise(folder: str, options: SummaryOptions) -> int:
    """Summarise the scan in `folder`; return the exit status.

    0 where all that stands was counted, 1 where parts were left out, 2 where an output could not be written.
    Raises UsageError where the folder holds no scan's results, or where an export's name has another ending.
    """
    outputs = [*options.export, *filter(None, [options.report])]
    if len(set(outputs)) < len(outputs):
        raise UsageError("Two outputs have the same name; give each its own.")
    for path in options.export:
        check_name(path)
    notices = Bar()
    refused = False
    with opened(folder) as results:
        summary = summarise(results, options.top)
        lead = progress_of(results, summary)
        if options.style == "json":
            json.dump(
                summary.to_dict() | {"planned": results.planned, "left_out": results.left_out}, sys.stdout
            )
            sys.stdout.write("\n")
        else:
            _Text(summary, lead).print()
        for path in outputs:
            try:
                notices.say(_write(path, results, summary, lead, options))
            except OutputError as error:
                refused = True
                notices.say(f"Error: {printable(error)}")
        for line in problem_lines(results):
            notices.say(line)
        left_out = results.left_out
    return NOT_WRITTEN if refused else SOME_LEFT_OUT if left_out else WHOLE


def opened(source: str) -> Results:
    """What stands in the folder of a scan, or in a file of `check --format jsonl`. Raises UsageError."""
    return Records(source) if Path(source).is_file() else Results(source)


def _write(path: str, results: Results, summary: Summary, lead: str, options: SummaryOptions) -> str:
    """Write one output; return a line that says what stands there."""
    if path == options.report:
        from pixelsleuth.scale.sheet import tiles

        write_page(path, results, summary, lead, tiles(results, summary.suspects, pictures=options.pictures))
        return f"Page: {printable(path)}"
    return f"Export: {words.count(export(results, path, options.root), 'row')} in {printable(path)}"


def progress_of(results: Results, summary: Summary) -> str:
    """A sentence: how much of the plan was counted."""
    source, planned = printable(results.source), results.planned
    if summary.rows == planned:
        return f"All {planned:,} inputs of {source}."
    return f"{summary.rows:,} of {planned:,} inputs of {source}; the scan is not complete."


class _Text:
    """The figures as text with bars."""

    def __init__(self, summary: Summary, lead: str) -> None:
        from pixelsleuth.reporting.terminal import console_for

        self.summary, self.lead = summary, lead
        self.console: Console = console_for(sys.stdout)
        self.full = "█" if (self.console.encoding or "").lower().startswith("utf") else "#"

    def print(self) -> None:
        """Print all sections; one without a row is left out."""
        summary = self.summary
        self._line(self.lead)
        self._heading("Labels")
        for entry in shares(summary.kinds):
            row = summary.kinds * [kind == entry["kind"] for kind in KINDS]
            self._bar(
                f"{entry['name']:<17}", row, summary.rows, f"{entry['count']:>12,}  {percent(entry['share'])}"
            )
        if summary.confidence.any():
            self._heading("Confidence (of the label)")
            largest = int(summary.confidence.sum(axis=1).max())
            first = int(summary.confidence.any(axis=1).argmax())  # a label's probability is at least a third
            for i, row in list(enumerate(summary.confidence))[first:]:
                name = f"{100 * i // BINS:>3}% to {100 * (i + 1) // BINS:>3}%   "
                self._bar(name, row, largest, f"{int(row.sum()):>12,}")
        if entries := sources(summary):
            self._heading("By source")
            for entry, (_, row) in zip(entries, summary.largest(MOST_SOURCES), strict=True):
                name = entry["name"] if len(entry["name"]) <= NAME else f"{entry['name'][: NAME - 1]}…"
                self._bar(f"{name:<{NAME}} ", row, int(row.sum()), f"{entry['count']:>12,}")
        width, times = summary.times.bars(MOST_BARS)
        if len(times) > 1:
            self._heading(f"By time of judging (UTC, a line is {duration(width)})")
            largest = max(int(row.sum()) for _, row in times)
            for start, row in times:
                self._bar(f"{moment(start, width)}  ", row, largest, f"{int(row.sum()):>12,}")
        if summary.errors:
            self._heading("Not judged")
            for code, number in summary.errors.most_common(MOST_ERRORS):
                self._line(f"  {printable(code):<28}{number:>12,}")

    def _heading(self, text: str) -> None:
        from rich.text import Text

        self.console.print()
        self.console.print(Text(text, "bold"))

    def _line(self, text: str) -> None:
        from rich.text import Text

        self.console.print(Text(text), soft_wrap=True)

    def _bar(self, name: str, row: Counts, whole: int, after: str) -> None:
        """A line: name, a bar of the kinds in their colours, figures."""
        from rich.text import Text

        from pixelsleuth.reporting.terminal import STYLES

        line = Text(f"  {name}")
        done = drawn = 0
        for kind, number in zip(KINDS, row.tolist(), strict=True):
            done += number
            end = round(BAR * done / max(1, whole))
            line.append(self.full * (end - drawn), STYLES.get(kind, "dim"))
            drawn = end
        line.append(f"{' ' * (BAR - drawn)}{after}")
        self.console.print(line, soft_wrap=True)
