"""Where the verdicts themselves go: standard output or the file of `--output`, as text or as records."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import IO, TYPE_CHECKING, cast

from pixelsleuth.core.outputs import RecordFile

if TYPE_CHECKING:
    from rich.console import Console

    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.reporting.records import JsonRecords
    from pixelsleuth.reporting.terminal import TerminalText


class Results:
    """Hands verdicts to `file`, or to standard output where it is None.

    `style` is text, json or jsonl; `total` the number of pictures to come. A file holds whole verdicts only and can be
    read at any moment. Raises OutputError where a verdict cannot be written.
    """

    def __init__(self, style: str, total: int, file: RecordFile | None = None) -> None:
        self.style, self.total, self.file = style, total, file
        self.console: Console | None = None
        self._records: JsonRecords | None = None
        self._text: TerminalText | None = None
        stream = sys.stdout if file is None else cast("IO[str]", file)
        if style == "text":
            from pixelsleuth.reporting.terminal import TerminalText, console_for

            self.console = console_for(stream)
            self._text = TerminalText(self.console, total=total)
            if file is not None:
                file.write(_heading())
        else:
            from pixelsleuth.reporting.records import JsonRecords

            self._records = JsonRecords(stream, lines=style == "jsonl")

    def add(self, verdict: Verdict, mask_file: str | None) -> None:
        """Write one verdict, whole."""
        writer = self._records or self._text
        assert writer is not None
        writer.add(verdict, mask_file)
        self._hand_over()

    def close(self) -> None:
        """End what was written, also where no picture was judged."""
        if self.file is not None:
            self._hand_over()
            self.file.close()
        elif self._records is not None:
            self._records.close()
        else:
            sys.stdout.flush()

    def instead(self) -> Results | None:
        """What takes the verdicts to come after a failure: standard output for a file, nothing for standard output."""
        if self.file is None:
            return None
        self.file.discard()
        return Results(self.style, self.total)

    def _hand_over(self) -> None:
        if self.file is None:
            sys.stdout.flush()
        else:
            self.file.commit(self._records.tail if self._records is not None else "")


def _heading() -> str:
    """The first line of a text file of verdicts; by it a later run knows that the file is one."""
    from pixelsleuth import __version__
    from pixelsleuth.reporting.files import TEXT_BEGINS

    now = datetime.now().astimezone()
    return f"{TEXT_BEGINS} {__version__}, {now.day} {now:%B %Y, %H:%M %Z}".strip() + "\n\n"
