"""Verdicts as text, a JSON array or JSON lines, on standard output or in the file of `--output`."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, cast

from pixelsleuth.core.outputs import RecordFile

if TYPE_CHECKING:
    from rich.console import Console

    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.reporting.terminal import TerminalText

TEXT_BEGINS = "PixelSleuth"
"""First word of a text file of verdicts; a later run may replace such a file."""
_RECORD = b'{"schema": "pixelsleuth.verdict/'
# A killed run can leave even the first record incomplete.
_TORN = b"|".join(re.escape(_RECORD[:end]) for end in range(1, len(_RECORD)))
OUR_RECORDS = re.compile(
    rb"\s*(?:%b \d|(?:\[\s*)?%b|(?:\[\s*)?(?:%b)?\Z|\[\s*\]\s*\Z)"
    % (TEXT_BEGINS.encode(), re.escape(_RECORD), _TORN)
)
"""How a file of verdicts begins, in any of the three formats."""


class Results:
    """Writes verdicts to `file`, or to standard output if it is None.

    `style` is text, json or jsonl; `total` the number of pictures. A file holds whole verdicts at any moment. Raises
    OutputError if a verdict cannot be written.
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
            self._records = JsonRecords(stream, lines=style == "jsonl")

    def add(self, verdict: Verdict, mask_file: str | None) -> None:
        """Write one verdict."""
        if self._records is not None:
            self._records.add(verdict.to_dict(mask_file=mask_file))
        elif self._text is not None:
            self._text.add(verdict, mask_file)
        self._hand_over()

    def close(self) -> None:
        """End the output, also if no picture was judged."""
        if self.file is not None:
            self._hand_over()
            self.file.close()
        elif self._records is not None:
            self._records.close()
        else:
            sys.stdout.flush()

    def instead(self) -> Results | None:
        """Where later verdicts go after a failure: from a file to standard output, from there nowhere."""
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
    """The first line of a text file of verdicts."""
    from pixelsleuth import __version__

    now = datetime.now().astimezone()
    return f"{TEXT_BEGINS} {__version__}, {now.day} {now:%B %Y, %H:%M %Z}".strip() + "\n\n"


class JsonRecords:
    """Writes records to `stream`: a JSON array, or with `lines` one object a line (JSON Lines).

    Every record is flushed, so an interruption loses none. `close` ends the array; a `core.outputs.RecordFile` is
    complete after every record and takes `tail` instead.
    """

    def __init__(self, stream: IO[str], *, lines: bool) -> None:
        self.stream, self.lines, self.count = stream, lines, 0
        # Non-ASCII letters are escaped only if the stream cannot encode them.
        self._ascii = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "") != "utf8"
        if not lines:
            self._write("[")

    @property
    def tail(self) -> str:
        """What closes the array after the records so far; "" for lines."""
        if self.lines:
            return ""
        return "\n]\n" if self.count else "]\n"

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        text = record_text(record, escaped=self._ascii)
        if self.lines:
            self._write(text + "\n")
        else:
            self._write(("\n" if self.count == 0 else ",\n") + text)
        self.count += 1

    def close(self) -> None:
        """End the array."""
        self._write(self.tail)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def record_text(record: Mapping[str, Any], *, escaped: bool = False) -> str:
    """A record as one line of JSON without its end; `escaped`: letters beyond ASCII as escapes."""
    return json.dumps(_plain(dict(record)), ensure_ascii=escaped, allow_nan=False)


def _plain(value: Any) -> Any:
    """A value that JSON can hold: numpy becomes numbers and lists, NaN and infinities become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
