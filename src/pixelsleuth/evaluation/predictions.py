"""`predictions.jsonl`: a line for each model, condition and picture, appended batch by batch.

The first line names the run; a rerun on other data or under another protocol is refused. A last line that a crash cut
off is dropped, and its picture is judged again. Everything in `metrics.json` is computed from these lines.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.io import failed, read_json_lines
from pixelsleuth.core.outputs import RecordFile
from pixelsleuth.errors import UsageError

LOG = "predictions.jsonl"
SCHEMA = "pixelsleuth.predictions/1"
Row = dict[str, Any]
Key = tuple[str, str, str, int]
_ANYTHING = re.compile(b"")
"""A file of another program is refused by its first line, in the words of this module."""


class PredictionLog:
    """The file `folder/predictions.jsonl` of a run that `about` describes.

    Raises UsageError where the folder holds another run, OutputError where it cannot be written or another run is
    writing it.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.path = folder / LOG
        self.done: set[Key] = set()
        self.head = head = json.dumps({"schema": SCHEMA, "run": about}, sort_keys=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failed(folder, "folder", error) from error
        self._file = RecordFile(self.path, ours=_ANYTHING, kind="log of predictions", keep=True)
        try:
            if self._file.end:
                self._resume(head, folder)
            else:
                self._file.write(head + "\n")
            self._file.commit()
        except BaseException:
            self._file.discard()
            raise

    def append(self, rows: Iterable[Row]) -> None:
        """Write a batch and hand it to the system, so that a killed process loses at most the batch in work."""
        keys = []
        for row in rows:
            self._file.write(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n")
            keys.append(key_of(row))
        self._file.commit()
        self.done.update(keys)

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _resume(self, head: str, folder: Path) -> None:
        earlier = read_head(self.path)
        run = json.loads(head)["run"]
        differing = sorted(key for key in {*run, *earlier} if run.get(key) != earlier.get(key))
        if differing:
            raise UsageError(
                f"{folder} holds another evaluation (differing: {', '.join(differing)}); choose another --out."
            )
        self.done = set(map(key_of, read_rows(self.path)))


def key_of(row: Row) -> Key:
    """(model, version, condition, index): what is judged once."""
    return str(row["model"]), str(row["version"]), str(row["condition"]), int(row["index"])


def read_head(path: Path) -> dict[str, Any]:
    """The description of the run in the first line. Raises UsageError where there is no such log."""
    if not path.is_file():
        raise UsageError(f"There is no {path}; name a folder that `pixelsleuth evaluate` wrote.")
    try:
        with path.open(encoding="utf-8") as stream:
            head = json.loads(stream.readline())
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("schema") != SCHEMA or not isinstance(head.get("run"), dict):
        raise UsageError(f"{path} is no {SCHEMA} file; choose another folder.")
    run: dict[str, Any] = head["run"]
    return run


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a log, without a last one that was cut off. Raises UsageError for no log and for a damaged line."""
    read_head(path)
    for number, row in read_json_lines(path):
        if number == 1:
            continue
        try:
            key_of(row)
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path}, line {number} is damaged; delete the line and run again.") from None
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
