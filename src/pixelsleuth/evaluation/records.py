"""`predictions.jsonl`: one line a model, condition and picture, appended batch by batch, so that nothing judged is
lost.

The first line says what the run is; a rerun on other data or under another protocol is refused. A last line that
was cut off by a crash is dropped and judged again. Everything in `metrics.json` is computed from these lines.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.errors import OutputError, UsageError

SCHEMA = "pixelsleuth.predictions/1"
Row = dict[str, Any]
Key = tuple[str, str, str, int]


class PredictionLog:
    """The file `folder/predictions.jsonl` of a run that `about` describes.

    Raises UsageError where the folder holds another run, OutputError where it cannot be written.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.path = folder / "predictions.jsonl"
        self.done: set[Key] = set()
        head = json.dumps({"schema": SCHEMA, "run": about}, sort_keys=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.path.is_file() and self.path.stat().st_size:
                self._resume(head, folder)
            else:
                self.path.write_text(head + "\n", encoding="utf-8")
            self._stream: IO[str] = self.path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}); choose another folder."
            ) from error

    def append(self, rows: Iterable[Row]) -> None:
        """Write a batch and hand it to the system, so that a killed process loses at most the batch in work."""
        try:
            for row in rows:
                self._stream.write(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n")
                self.done.add(key_of(row))
            self._stream.flush()
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}); make room and run again."
            ) from error

    def close(self) -> None:
        """End the file."""
        self._stream.close()

    def _resume(self, head: str, folder: Path) -> None:
        whole = _cut_torn_line(self.path)
        found = read_head(self.path) if whole else None
        if found is None:
            self.path.write_text(head + "\n", encoding="utf-8")
            return
        wanted = json.loads(head)["run"]
        differing = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
        if differing:
            raise UsageError(
                f"{folder} holds another evaluation (differing: {', '.join(differing)}); choose another --out."
            )
        self.done = {key_of(row) for row in read_rows(self.path)}


def key_of(row: Row) -> Key:
    """(model, version, condition, index): what is judged once."""
    return str(row["model"]), str(row["version"]), str(row["condition"]), int(row["index"])


def read_head(path: Path) -> dict[str, Any] | None:
    """What the first line says of the run. Raises UsageError where the file is no such log."""
    with path.open(encoding="utf-8") as stream:
        first = stream.readline()
    try:
        head = json.loads(first)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("schema") != SCHEMA:
        raise UsageError(f"{path} is no {SCHEMA} file; choose another folder.")
    run: dict[str, Any] = head["run"]
    return run


def read_rows(path: Path) -> Iterator[Row]:
    """The lines of a log, without its first. Raises UsageError where there is none or a line is damaged."""
    if not path.is_file():
        raise UsageError(f"There is no {path}; name a folder that `pixelsleuth evaluate` wrote.")
    read_head(path)
    with path.open(encoding="utf-8") as stream:
        next(stream)
        for number, line in enumerate(stream, start=2):
            try:
                row = json.loads(line)
                key_of(row)
            except (ValueError, KeyError, TypeError):
                raise UsageError(
                    f"{path}, line {number} is damaged; delete the line and run again."
                ) from None
            yield row


def pack_histogram(histogram: NDArray[np.int64]) -> str:
    """(2, 256) counts as short text."""
    return base64.b85encode(zlib.compress(histogram.astype("<i8").tobytes(), 9)).decode("ascii")


def unpack_histogram(text: str) -> NDArray[np.int64]:
    """The (2, 256) counts of `pack_histogram`. Raises ValueError for anything else; never allocates more."""
    data = zlib.decompressobj().decompress(base64.b85decode(text), 2 * 256 * 8)
    if len(data) != 2 * 256 * 8:
        raise ValueError("not a histogram")
    return np.frombuffer(data, dtype="<i8").reshape(2, 256).astype(np.int64)


def _cut_torn_line(path: Path) -> bool:
    """Cut what follows the last line break; False where nothing whole is left."""
    with path.open("rb+") as stream:
        end = stream.seek(0, os.SEEK_END)
        at = end
        while at:
            step = min(1 << 16, at)
            stream.seek(at - step)
            chunk = stream.read(step)
            found = chunk.rfind(b"\n")
            if found >= 0:
                whole = at - step + found + 1
                if whole < end:
                    stream.truncate(whole)
                return True
            at -= step
        stream.truncate(0)
    return False
