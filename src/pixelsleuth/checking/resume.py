"""`check --resume`: what a file of JSON lines already holds, so that no picture is judged twice."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelsleuth.core.outputs import RecordFile
from pixelsleuth.core.verdict import SCHEMA, Verdict, printable
from pixelsleuth.errors import PictureError, PixelSleuthError, UsageError
from pixelsleuth.pictures.files import read_file

NEEDED = {
    "source", "sha256", "width", "height", "label", "confidence", "probabilities", "inconclusive", "mask", "regions",
    "explanation", "evidence", "model", "elapsed_ms", "warnings", "error",
}  # fmt: skip
"""Fields that a record must have to stand for its picture."""


class Earlier:
    """The records of an earlier run of the same model.

    A picture counts as judged where path and SHA-256 are those of a record without an error. Records of a picture that
    changed since, or that could not be read then, are dropped when it is judged again; those of pictures that this run
    does not ask for stay. Raises UsageError where a line is no such record or another model wrote it.
    """

    def __init__(self, file: RecordFile, model: Mapping[str, str]) -> None:
        self.file = file
        self._judged: dict[tuple[str, str], int] = {}
        self._places: dict[str, list[int]] = defaultdict(list)
        self._standing: set[int] = set()
        self._outdated: set[int] = set()
        for number, (place, line) in enumerate(file.lines(), start=1):
            if not line.strip():
                continue
            record = _record(line)
            if record is None:
                raise UsageError(
                    f"{file.path}, line {number} is no record of a verdict; mend it, or choose another --output."
                )
            if record["model"] != dict(model):
                wrote = " ".join(str(value) for value in record["model"].values())
                raise UsageError(
                    f"{file.path} holds verdicts of {wrote or 'another model'}; choose another --output."
                )
            self._places[record["source"]].append(place)
            if record["error"] is None and record["label"] is not None:
                self._judged[record["source"], record["sha256"]] = place

    def split(self, sources: Sequence[str]) -> list[str]:
        """The sources that are still to be judged."""
        todo: list[str] = []
        for source in sources:
            name = printable(source)
            place = self._judged.get((name, sha256_of(source))) if name in self._places else None
            if place is None:
                todo.append(source)
            else:
                self._standing.add(place)
            self._outdated.update(self._places.get(name, ()))
        self._outdated -= self._standing
        return todo

    def verdicts(self) -> Iterator[Verdict]:
        """The verdicts that stand, in the order of the file."""
        for place, line in self.file.lines():
            if place in self._standing and (record := _record(line)) is not None:
                yield _verdict(record)

    def clean(self) -> None:
        """Take outdated records, and a line that a kill tore off, out of the file."""
        if self._outdated:
            kept = {place for places in self._places.values() for place in places} - self._outdated
            self.file.keep_only(kept)
        self.file.commit()


def with_picture(verdict: Verdict, max_megapixels: float) -> Verdict:
    """The verdict with its picture read again, for a report; without one where the file has become unreadable."""
    from pixelsleuth.pictures.images import open_picture

    try:
        verdict.picture = open_picture(verdict.source, max_megapixels=max_megapixels)
    except PictureError:
        verdict.picture = None
    return verdict


def sha256_of(source: str) -> str:
    """SHA-256 of a file in hex digits; "" where it cannot be read (the detector will say why)."""
    try:
        return hashlib.sha256(read_file(source, source)).hexdigest()
    except PictureError:
        return ""


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        well = record["schema"] == SCHEMA and isinstance(record["source"], str)
        well = well and isinstance(record["model"], dict) and set(record) >= NEEDED
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if well else None


def _verdict(record: dict[str, Any]) -> Verdict:
    """The verdict of a record; without its mask where the mask's file is no longer there."""
    try:
        return Verdict.from_dict(record, folder=Path())
    except (OSError, ValueError, KeyError, TypeError, PixelSleuthError):
        return Verdict.from_dict({**record, "mask": None})
