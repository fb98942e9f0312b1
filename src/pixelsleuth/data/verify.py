"""`verify` reports what a data set holds, what is broken, what is there twice, and what is missing.

Every picture is decoded and every mask read, as training would. Digests of pictures go to a temporary database on disk,
so that memory does not grow with the set. The command is `pixelsleuth datasets verify DIR`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.left_out import BAD_MASK, EMPTY_MASK, LeftOut, reason_of
from pixelsleuth.data.masks import MaskReading
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.readers import Data
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError

SCHEMA = "pixelsleuth.datasets.verify/1"
EXAMPLES = 10
"""Files that are named for each finding; all are counted."""

ERRORS = {
    "unreadable_picture": "pictures that cannot be read",
    "unreadable_mask": "masks that cannot be read",
    "empty_mask": "tampered pictures whose mask marks nothing",
    "swapped_mask": "masks with the width and height of the picture exchanged: most likely transposed",
    "same_under_two_labels": "pictures whose bytes also occur under another label",
}
WARNINGS = {
    "tampered_without_mask": "tampered pictures without a mask",
    "mask_of_other_size": "masks of another size than their picture (resized, nearest neighbour)",
    "mask_turned": "masks turned with their picture's EXIF orientation",
    "mask_with_greys": "masks with grey levels (marked above 127)",
    "mask_over_half": "masks that mark more than half of the picture",
    "mask_on_real": "real pictures whose mask marks something",
    "same_in_two_splits": "pictures whose bytes also occur in another split",
    "duplicate": "pictures whose bytes occur more than once",
    "group_in_two_splits": "pictures of a group (one scene, product or pair) that is also in another split",
}


@dataclass
class Report:
    """What `verify` reports. `counts` is {(split, label): pictures}; `findings` and `examples` have the keys of ERRORS
    and WARNINGS. `over_zero` and `over_half` are the marked pixels of grey masks at the thresholds 0 and 127.
    """

    data: str
    spec: ReaderSpec
    settings: dict[str, str]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    generators: Counter[str] = field(default_factory=Counter)
    masks: int = 0
    descriptions: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)
    unread: LeftOut = field(default_factory=LeftOut)
    missing: list[str] = field(default_factory=list)
    over_zero: int = 0
    over_half: int = 0
    complete: bool = False

    @property
    def samples(self) -> int:
        return sum(self.counts.values())

    @property
    def sound(self) -> bool:
        """True where every picture and mask that was read can be used."""
        broken = any(reason.startswith("shard that") for reason in self.left_out)
        return self.samples > 0 and not broken and not any(self.findings[key] for key in ERRORS)

    @property
    def tally(self) -> LeftOut:
        """What the reader left out, and what cannot be read or used, as evaluation counts it."""
        whole = self.left_out.copied()
        whole.join(self.unread)
        return whole

    @property
    def ok(self) -> bool:
        """True where the set is sound and nothing was left out."""
        return self.sound and not self.left_out

    def note(self, key: str, sample: Sample, why: object = "") -> None:
        """Count a finding and keep its first examples."""
        self.findings[key] += 1
        kept = self.examples.setdefault(key, [])
        if len(kept) < EXAMPLES:
            kept.append(str(why) if why else sample.path.as_posix())

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready record."""
        by_split: dict[str, dict[str, int]] = {}
        for (split, label), count in sorted(self.counts.items()):
            by_split.setdefault(split, {})[label] = count
        return {
            "schema": SCHEMA,
            "data": self.data,
            "reader": self.spec.name,
            "settings": self.settings,
            "ok": self.ok,
            "complete": self.complete,
            "samples": self.samples,
            "splits": by_split,
            "generators": dict(self.generators.most_common()),
            "masks": self.masks,
            "descriptions": self.descriptions,
            "errors": {key: self.findings[key] for key in ERRORS},
            "warnings": {key: self.findings[key] for key in WARNINGS},
            "examples": self.examples,
            "grey_mask_pixels": {"over_zero": self.over_zero, "over_half": self.over_half},
            "left_out": dict(self.left_out),
            "not_usable": self.tally.to_dict(),
            "missing": self.missing,
        }


def verify(
    data: Data, *, limit: int | None = None, step: Callable[[], None] = lambda: None
) -> Iterator[Report]:
    """Go through at most `limit` samples of `data`; yield the report after every sample, and again when it is complete.

    It is the same object each time, so that an interrupted run still has it. `step` is called after each sample.
    """
    report = Report(data.name, data.spec, dict(data.source.settings))
    with closing(sqlite3.connect("")) as known:  # on disk, and gone when closed
        known.execute("create table pictures (digest blob primary key, label text, split text) without rowid")
        known.execute("create table groups (name text primary key, split text) without rowid")
        for sample in data:
            _look(report, sample, known)
            step()
            report.left_out = data.left_out
            yield report
            if limit is not None and report.samples >= limit:
                break
        else:
            report.complete = True
    report.left_out = data.left_out
    report.missing = list(_missing(report, data.source.split))
    yield report


def _look(report: Report, sample: Sample, known: sqlite3.Connection) -> None:
    report.counts[sample.split, str(sample.label)] += 1
    if sample.generator:
        report.generators[sample.generator] += 1
    report.descriptions += bool(sample.description)
    report.masks += sample.mask is not None
    _grouped(report, sample, known)
    try:
        picture, mask = sample.load()
    except PictureError as error:
        try:
            picture, mask = sample.open(), None  # the picture or its mask: which, is worth a second look
        except PictureError:
            report.note("unreadable_picture", sample, f"{sample.path}: {error}")
            report.unread.add(reason_of(error), sample.path.as_posix())
            return
        report.note("unreadable_mask", sample, f"{sample.path}: {error}")
        report.unread.add(BAD_MASK, sample.path.as_posix())
    _doubled(report, sample, picture.sha256, known)
    if sample.mask is None and sample.label is Label.TAMPERED:
        report.note("tampered_without_mask", sample)
    if mask is not None:
        _mask(report, sample, mask)


def _mask(report: Report, sample: Sample, mask: MaskReading) -> None:
    share = mask.share
    if sample.label is Label.TAMPERED and share == 0.0:
        report.note("empty_mask", sample)
        report.unread.add(EMPTY_MASK, sample.path.as_posix())
    if sample.label is Label.REAL and share > 0.0:
        report.note("mask_on_real", sample)
    if sample.label is Label.TAMPERED and share > 0.5:
        report.note("mask_over_half", sample)
    if mask.swapped:
        report.note("swapped_mask", sample)
    elif mask.resized:
        report.note("mask_of_other_size", sample)
    if mask.turned:
        report.note("mask_turned", sample)
    if mask.grey_levels:
        report.note("mask_with_greys", sample)
        report.over_zero += mask.over_zero
        report.over_half += mask.over_half


def _grouped(report: Report, sample: Sample, known: sqlite3.Connection) -> None:
    if not sample.group or not sample.split:
        return
    row = known.execute("select split from groups where name = ?", (sample.group,)).fetchone()
    if row is None:
        known.execute("insert into groups values (?, ?)", (sample.group, sample.split))
    elif row[0] != sample.split:
        report.note("group_in_two_splits", sample)


def _doubled(report: Report, sample: Sample, sha256: str, known: sqlite3.Connection) -> None:
    digest = bytes.fromhex(sha256)
    row = known.execute("select label, split from pictures where digest = ?", (digest,)).fetchone()
    if row is None:
        known.execute("insert into pictures values (?, ?, ?)", (digest, str(sample.label), sample.split))
        return
    report.note("duplicate", sample)
    if row[0] != sample.label:
        report.note("same_under_two_labels", sample)
    if row[1] != sample.split:
        report.note("same_in_two_splits", sample)


def _missing(report: Report, split: str | None) -> Iterator[str]:
    """Sentences on what should be there and is not."""
    spec = report.spec
    if not report.samples:
        yield f"The layout {spec.name} holds no picture; see: pixelsleuth datasets show {spec.name}"
        return
    counts: Counter[str] = Counter()
    for (part, _), count in report.counts.items():
        counts[part] += count
        counts[""] += count if part else 0
    for part, expected in spec.expects.items():
        if report.complete and (split is None or part == split) and counts[part] != expected:
            name = f"The split {part}" if part else "The set"
            yield f"{name} has {counts[part]:,} pictures; its publisher states {expected:,}."
    present = {label for _, label in report.counts}
    for label in Label:
        if label in spec.classes and label not in present and spec.licence != "yours":
            yield f"There is no picture of the class {label}."
    without = report.findings["tampered_without_mask"]
    if without and spec.masked:
        yield f"{without:,} tampered pictures have no mask, and this set has one for each."
    if report.masks and report.findings["mask_over_half"] > report.masks / 2:
        yield "Most masks mark more than half of the picture: check which side is tampered (polarity)."
