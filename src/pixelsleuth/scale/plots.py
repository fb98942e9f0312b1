"""Plots of a summary as plain values: rectangles and texts that `templates/summary.html.j2` writes as inline SVG."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pixelsleuth.reporting.words import NAMES, printable
from pixelsleuth.scale.rows import DUPLICATE
from pixelsleuth.scale.summary import BINS, KINDS

if TYPE_CHECKING:
    from pixelsleuth.scale.summary import Counts, Summary

WIDTH, HEIGHT = 560, 230
"""Size of a plot in its own units, near pixels on a desk screen."""
LEFT, RIGHT, ABOVE, BELOW = 62, 10, 12, 26
"""Room around the bars for the axes' texts."""
TICKS = 4
"""Lines of the scale above zero, at most."""
MOST_BARS = 60
"""Intervals of the plot by time."""
MOST_SOURCES = 20
"""Sources with a bar of their own."""
KIND_NAMES = NAMES | {DUPLICATE: "Duplicate"}
UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def duration(seconds: int) -> str:
    """A length of time in its largest whole unit.

    >>> duration(600), duration(3600), duration(86_400)
    ('10 minutes', '1 hour', '1 day')
    """
    size, name = next(unit for unit in UNITS if seconds % unit[0] == 0)
    return f"{seconds // size} {name}{'' if seconds == size else 's'}"


def moment(start: int, width: int) -> str:
    """The beginning of an interval in UTC, as exact as its length asks for.

    >>> moment(0, 86_400), moment(3600, 60), moment(1, 1)
    ('1970-01-01', '1970-01-01 01:00', '1970-01-01 00:00:01')
    """
    shape = "%Y-%m-%d" if width >= 86_400 else "%Y-%m-%d %H:%M" if width >= 60 else "%Y-%m-%d %H:%M:%S"
    return datetime.fromtimestamp(start, UTC).strftime(shape)


def shares(counts: Counts) -> list[dict[str, Any]]:
    """`{"kind", "name", "count", "share", "x"}` of every kind that occurs; share and x in 0..1 of all rows."""
    total, before = max(1, int(counts.sum())), 0
    entries = []
    for kind, number in zip(KINDS, counts.tolist(), strict=True):
        if number:
            share = number / total
            entries.append(
                {"kind": kind, "name": KIND_NAMES[kind], "count": number, "share": share, "x": before / total}
            )
            before += number
    return entries


def plots(summary: Summary) -> list[dict[str, Any]]:
    """The plots that stand in columns: confidence, and time where the scan took more than one interval."""
    width, times = summary.times.bars(MOST_BARS)
    labels = [f"{100 * i // BINS}%" for i in range(BINS + 1)]
    drawn = []
    if summary.confidence.any():
        edges = [(i / BINS, labels[i]) for i in range(0, BINS + 1, BINS // 5)]
        named = [(f"{labels[i]} to {labels[i + 1]}", row) for i, row in enumerate(summary.confidence)]
        note = "Probability that the model gives to its own label; a bar is 5 points wide."
        drawn.append(_columns("Confidence", note, named, edges))
    if len(times) > 1:
        named = [(moment(start, width), row) for start, row in times]
        ends = [(0.0, named[0][0]), (1.0, named[-1][0])]
        note = f"When pictures were judged (UTC); a bar is {duration(width)}."
        drawn.append(_columns("Time", note, named, ends))
    return drawn


def _columns(
    title: str, note: str, bars: list[tuple[str, Counts]], edges: Iterable[tuple[float, str]]
) -> dict[str, Any]:
    """A plot of stacked columns; `edges` are (place in 0..1, text) of the axis below."""
    top = _top(max(int(row.sum()) for _, row in bars))
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - ABOVE - BELOW
    step = wide / len(bars)
    rectangles = []
    for place, (name, row) in enumerate(bars):
        y = float(ABOVE + high)
        for entry in shares(row):
            size = high * entry["count"] / top
            y -= size
            rectangles.append({
                "kind": entry["kind"], "x": round(LEFT + step * (place + 0.06), 2), "y": round(y, 2),
                "w": round(step * 0.88, 2), "h": round(size, 2),
                "title": f"{name}: {entry['count']:,} {entry['name'].lower()}",
            })  # fmt: skip
    lines = [
        {"y": round(ABOVE + high * (1 - i / TICKS), 2), "text": f"{top * i // TICKS:,}"}
        for i in range(TICKS + 1)
    ]
    below = [
        {"x": round(LEFT + wide * place, 2), "text": text, "anchor": _anchor(place)} for place, text in edges
    ]
    shown = {rectangle["kind"] for rectangle in rectangles}
    return {
        "title": title,
        "note": note,
        "rects": rectangles,
        "lines": lines,
        "below": below,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "names": [name for kind, name in KIND_NAMES.items() if kind in shown],
    }


def _anchor(place: float) -> str:
    return "start" if place <= 0 else "end" if place >= 1 else "middle"


def _top(largest: int) -> int:
    """A round number of at least `largest` that TICKS divides.

    >>> _top(7), _top(130), _top(1)
    (8, 200, 4)
    """
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power * TICKS >= largest:
                return step * power * TICKS
        power *= 10


def sources(summary: Summary) -> list[dict[str, Any]]:
    """`{"name", "count", "shares"}` of the largest sources; none where no row names one."""
    if not summary.named:
        return []
    return [
        {"name": printable(name), "count": int(row.sum()), "shares": shares(row)}
        for name, row in summary.largest(MOST_SOURCES)
    ]
