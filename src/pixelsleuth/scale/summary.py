"""What a scan found, counted in one pass over few columns: memory does not grow with the number of rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.verdict import Label
from pixelsleuth.reporting.words import STATES
from pixelsleuth.scale.listing import arrow
from pixelsleuth.scale.results import BadPartError
from pixelsleuth.scale.rows import DUPLICATE, FAILED, JUDGED

if TYPE_CHECKING:
    from pathlib import Path

    from pixelsleuth.scale.results import Results

KINDS = (*STATES, DUPLICATE)
"""What a row counts as: a state of verdicts (`reporting.words`), or a duplicate that was not judged."""
COLUMNS = (
    "id",
    "state",
    "origin",
    "judged_at",
    "label",
    "confidence",
    "probabilities",
    "inconclusive",
    "error.code",
)
BINS = 20
"""Bars of the histogram of confidence, each 0.05 wide."""
MOST_NAMES = 10_000
"""Different sources, and different error codes, that are counted by name; rows of any later one count as OTHERS."""
OTHERS = "(others)"
UNNAMED = "(no source)"
LONGEST_NAME = 200
"""Characters of a source's name that are kept."""
MOST_TIMES = 4000
"""Intervals of time that are counted apart; with more, intervals are joined."""
WIDTHS = (1, 10, 60, 600, 3600, 21_600, 86_400, 864_000, 8_640_000, 86_400_000, 864_000_000)
"""Lengths of such an interval in seconds; each divides the next."""
LAST_SECOND = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
STATE_VALUES = (JUDGED, FAILED, DUPLICATE)

Counts = NDArray[np.int64]


@dataclass
class Times:
    """Rows by the time at which they were judged: start of an interval in seconds since 1970 -> counts by kind."""

    width: int = WIDTHS[0]
    counts: dict[int, Counts] = field(default_factory=dict)

    def add(self, seconds: Counts, kinds: NDArray[np.intp]) -> None:
        """Count rows; `seconds` since 1970 and indices of KINDS, one each a row."""
        bins, place = np.unique(seconds // self.width, return_inverse=True)
        table = _crosstab(place, kinds, len(bins))
        for number, row in zip(bins.tolist(), table, strict=True):
            start = number * self.width
            self.counts[start] = self.counts[start] + row if start in self.counts else row
        while len(self.counts) > MOST_TIMES:
            self._widen(WIDTHS[WIDTHS.index(self.width) + 1])

    def bars(self, most: int) -> tuple[int, list[tuple[int, Counts]]]:
        """The length of an interval in seconds and at most `most` intervals without gaps: (start, counts by kind)."""
        if not self.counts:
            return self.width, []
        first, last = min(self.counts), max(self.counts)
        fitting = (w for w in WIDTHS if w >= self.width and last // w - first // w < most)
        wider = Times(self.width, dict(self.counts))
        wider._widen(next(fitting, WIDTHS[-1]))
        none = np.zeros(len(KINDS), np.int64)
        starts = range(min(wider.counts), max(wider.counts) + 1, wider.width)
        return wider.width, [(start, wider.counts.get(start, none)) for start in starts]

    def _widen(self, width: int) -> None:
        joined: dict[int, Counts] = {}
        for start, row in self.counts.items():
            begin = start // width * width
            joined[begin] = joined[begin] + row if begin in joined else row
        self.width, self.counts = width, joined


@dataclass
class Summary:
    """The counts of a scan; `kinds` are rows by KINDS, tables have a column for each of KINDS.

    `confidence` is (BINS, kinds): judged rows by the probability of their label, from 0 to 1. `origins` are rows by the
    manifest's column `source`. `suspects` are the ids of the rows with the highest probability of tampering and
    generation together, highest first, lower id first among equals.
    """

    top: int = 50
    kinds: Counts = field(default_factory=lambda: np.zeros(len(KINDS), np.int64))
    parts: int = 0
    confidence: Counts = field(default_factory=lambda: np.zeros((BINS, len(KINDS)), np.int64))
    origins: dict[str, Counts] = field(default_factory=dict)
    times: Times = field(default_factory=Times)
    errors: Counter[str] = field(default_factory=Counter)
    _suspicion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _suspects: Counts = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def rows(self) -> int:
        """All rows that were counted."""
        return int(self.kinds.sum())

    @property
    def suspects(self) -> list[int]:
        """Ids of the most suspicious rows, at most `top`."""
        return [int(number) for number in self._suspects]

    @property
    def named(self) -> bool:
        """True where any row names its source."""
        return any(name != UNNAMED for name in self.origins)

    def add(self, table: Any, *, timed: bool = True) -> None:
        """Count the rows of a table with COLUMNS; `timed`: each has the time at which it was judged.

        Raises BadPartError, and counts nothing, where it holds a value that no scan writes.
        """
        pc = arrow().compute
        kinds, judged, confidence, suspicion = _checked(table)
        seconds = _seconds(table["judged_at"]) if timed else None
        codes = [_short(code) for code in pc.struct_field(table["error"], "code").drop_null().to_pylist()]
        origins = table["origin"].combine_chunks().dictionary_encode()
        names = [_short(name) for name in origins.dictionary.to_pylist()] + [UNNAMED]
        place = pc.fill_null(origins.indices, len(names) - 1).to_numpy()
        self.kinds += np.bincount(kinds, minlength=len(KINDS))
        bins = np.minimum((confidence[judged] * BINS).astype(int), BINS - 1)
        self.confidence += _crosstab(bins, kinds[judged], BINS)
        for name, row in zip(names, _crosstab(place, kinds, len(names)), strict=True):
            if row.any():
                key = name if name in self.origins or len(self.origins) < MOST_NAMES else OTHERS
                self.origins[key] = self.origins[key] + row if key in self.origins else row
        for code in codes:
            self.errors[code if code in self.errors or len(self.errors) < MOST_NAMES else OTHERS] += 1
        if seconds is not None:
            self.times.add(seconds, kinds)
        self._keep(suspicion[judged], table["id"].to_numpy()[judged])
        self.parts += 1

    def largest(self, most: int) -> list[tuple[str, Counts]]:
        """The sources with the most rows, then the others in one."""
        ordered = sorted(
            self.origins.items(), key=lambda item: (item[0] == OTHERS, -int(item[1].sum()), item[0])
        )
        shown, rest = ordered[:most], ordered[most:]
        if rest:
            shown = [item for item in shown if item[0] != OTHERS]
            shown.append((OTHERS, np.sum([row for _, row in rest], axis=0)))
        return shown

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON values; a table row is an object of the kinds that occur."""
        width, bars = self.times.bars(MOST_TIMES)
        return {
            "rows": self.rows,
            "counts": dict(zip(KINDS, self.kinds.tolist(), strict=True)),
            "confidence": [
                {"from": i / BINS, "to": (i + 1) / BINS, **_named(row)}
                for i, row in enumerate(self.confidence)
            ],
            "sources": {name: _named(row) for name, row in self.largest(MOST_NAMES + 1)}
            if self.named
            else {},
            "seconds": width,
            "times": [
                {"from": datetime.fromtimestamp(start, UTC).isoformat(), **_named(row)}
                for start, row in bars
                if row.any()
            ],
            "errors": dict(self.errors.most_common()),
            "suspects": self.suspects,
        }

    def _keep(self, suspicion: NDArray[np.float64], ids: Counts) -> None:
        suspicion = np.concatenate([self._suspicion, suspicion])
        ids = np.concatenate([self._suspects, ids])
        first = np.lexsort((ids, -suspicion))[: self.top]
        self._suspicion, self._suspects = suspicion[first], ids[first]


def summarise(results: Results, top: int) -> Summary:
    """Count every part that stands; those that cannot be counted are left out (`Results.problems`)."""
    summary = Summary(top)
    for path, table in results.tables(COLUMNS):
        _add(summary, results, path, table)
    return summary


def _add(summary: Summary, results: Results, path: Path, table: Any) -> None:
    try:
        summary.add(table, timed=results.timed)
    except (arrow().ArrowException, ValueError) as error:
        results.leave_out(path, error)


def _checked(
    table: Any,
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Kind, judged or not, confidence and suspicion of each row. Raises BadPartError."""
    pa = arrow()
    pc = pa.compute
    state = _index(table["state"], STATE_VALUES)
    label = _index(table["label"], tuple(map(str, Label)))
    inconclusive = pc.fill_null(table["inconclusive"], False).to_numpy()
    confidence = _numbers(table["confidence"])
    shares = [_numbers(pc.struct_field(table["probabilities"], str(name))) for name in Label]
    judged = state == STATE_VALUES.index(JUDGED)
    if (state < 0).any() or (judged & (label < 0)).any():
        raise BadPartError("it holds states or labels that a scan does not write")
    if not all(((values[judged] >= 0) & (values[judged] <= 1)).all() for values in (confidence, *shares)):
        raise BadPartError("it holds probabilities outside 0 to 1")
    kind_of_label = np.array([KINDS.index(str(name)) for name in Label])
    kinds = np.where(inconclusive, KINDS.index("inconclusive"), kind_of_label[label])
    kinds[state == STATE_VALUES.index(FAILED)] = KINDS.index("failed")
    kinds[state == STATE_VALUES.index(DUPLICATE)] = KINDS.index(DUPLICATE)
    return kinds, judged, confidence, shares[1] + shares[2]


def _index(column: Any, values: tuple[str, ...]) -> NDArray[np.int64]:
    """The place of each value in `values`, -1 for null and any other."""
    pa = arrow()
    places = pa.compute.index_in(column, value_set=pa.array(values, pa.string()))
    return pa.compute.fill_null(places, -1).to_numpy().astype(np.int64)


def _numbers(column: Any) -> NDArray[np.float64]:
    """A column of numbers, NaN for null."""
    values: NDArray[np.float64] = arrow().compute.fill_null(column, float("nan")).to_numpy()
    return values


def _seconds(column: Any) -> Counts:
    """Seconds since 1970. Raises BadPartError."""
    pa = arrow()
    if column.null_count:
        raise BadPartError("it holds rows without a time")
    seconds: Counts = column.cast(pa.int64()).to_numpy() // 1000
    if (seconds < 0).any() or (seconds > LAST_SECOND).any():
        raise BadPartError("it holds times that no scan writes")
    return seconds


def _crosstab(rows: NDArray[Any], kinds: NDArray[np.intp], count: int) -> Counts:
    """(count, kinds) table of how often each kind occurs in each row number."""
    flat = np.bincount(rows.astype(np.intp) * len(KINDS) + kinds, minlength=count * len(KINDS))
    return flat.reshape(count, len(KINDS))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _named(row: Counts) -> dict[str, int]:
    return {kind: number for kind, number in zip(KINDS, row.tolist(), strict=True) if number}
