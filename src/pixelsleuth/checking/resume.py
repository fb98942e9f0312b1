"""`check --resume`: the records that a file of JSON lines already holds."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelsleuth.core.outputs import RecordFile
from pixelsleuth.core.verdict import SCHEMA, Label, Verdict, valid_unicode
from pixelsleuth.errors import PictureError, PixelSleuthError, UsageError
from pixelsleuth.pictures.files import read_file

NEEDED = {
    "source", "sha256", "width", "height", "label", "confidence", "probabilities", "inconclusive", "mask", "regions",
    "explanation", "evidence", "model", "elapsed_ms", "warnings", "error",
}  # fmt: skip
"""Fields that a record must have to stand for its picture."""


class Earlier:
    """The records of an earlier run of the same model.

    A picture is judged already if path and SHA-256 match a record without an error. The old record of a picture that
    changed, or could not be read, is dropped when it is judged again. Records of other pictures stay. Raises
    UsageError for a line that is no record, and for another model's.
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
                    f"{file.path}, line {number} is not a verdict record; mend it, or choose another --output."
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
        """The sources still to be judged."""
        todo: list[str] = []
        for source in sources:
            name = valid_unicode(source)
            place = self._judged.get((name, sha256_of(source))) if name in self._places else None
            if place is None:
                todo.append(source)
            else:
                self._standing.add(place)
            self._outdated.update(self._places.get(name, ()))
        self._outdated -= self._standing
        return todo

    def verdicts(self) -> Iterator[Verdict]:
        """The verdicts that are kept, in the order of the file."""
        for place, line in self.file.lines():
            if place in self._standing and (record := _record(line)) is not None:
                yield _verdict(record)

    def clean(self) -> None:
        """Remove outdated records and an incomplete last line from the file."""
        if self._outdated:
            kept = {place for places in self._places.values() for place in places} - self._outdated
            self.file.keep_only(kept)
        self.file.commit()


def with_picture(verdict: Verdict, max_megapixels: float) -> Verdict:
    """The verdict with its picture read again, for a report; without it if the file is no longer readable."""
    from pixelsleuth.pictures.images import open_picture

    try:
        verdict.picture = open_picture(verdict.source, max_megapixels=max_megapixels)
    except PictureError:
        verdict.picture = None
    return verdict


def sha256_of(source: str) -> str:
    """SHA-256 of a file in hex; "" if it cannot be read (the detector reports why)."""
    try:
        return hashlib.sha256(read_file(source, source)).hexdigest()
    except PictureError:
        return ""


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        well = record["schema"] == SCHEMA and isinstance(record["source"], str)
        well = well and isinstance(record["model"], dict) and set(record) >= NEEDED
        well = well and isinstance(record["sha256"], str | None) and record["label"] in (None, *Label)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if well else None


def _verdict(record: dict[str, Any]) -> Verdict:
    """The verdict of a record; without its mask if the mask file is gone. Raises UsageError for a damaged record."""
    damaged = (ValueError, KeyError, TypeError, AttributeError, OverflowError, PixelSleuthError)
    with contextlib.suppress(OSError, *damaged):
        return Verdict.from_dict(record, folder=Path())
    try:
        return Verdict.from_dict({**record, "mask": None})
    except damaged:
        raise UsageError(
            f"The earlier record of {record['source']} is damaged; remove its line, or choose another --output."
        ) from None
