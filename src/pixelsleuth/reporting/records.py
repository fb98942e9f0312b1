"""Verdicts as JSON: one array, or one record a line, written and flushed as each picture is judged."""

from __future__ import annotations

import json
import math
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict


class JsonRecords:
    """Streams records to `stream`: a JSON array, or with `lines` one object a line (JSON Lines).

    Every record is flushed, so that what was judged before an interruption is not lost. `close` ends the array;
    a file that is kept complete after every record (`core.outputs.RecordFile`) takes `tail` for that instead.
    """

    def __init__(self, stream: IO[str], *, lines: bool) -> None:
        self.stream, self.lines, self.count = stream, lines, 0
        # Non-ASCII letters are escaped only where the stream could not carry them.
        self._ascii = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "") != "utf8"
        if not lines:
            self._write("[")

    @property
    def tail(self) -> str:
        """What must follow the records so far (an empty array is `[]`); lines need nothing."""
        if self.lines:
            return ""
        return "\n]\n" if self.count else "]\n"

    def add(self, verdict: Verdict, mask_file: str | None = None) -> None:
        """Write one verdict; `mask_file` replaces the run lengths of its mask."""
        record = verdict.to_dict(mask_file=mask_file)
        text = json.dumps(_plain(record), ensure_ascii=self._ascii, allow_nan=False)
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


def _plain(value: Any) -> Any:
    """What JSON can hold: numpy scalars and arrays become numbers and lists, NaN and infinities null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
