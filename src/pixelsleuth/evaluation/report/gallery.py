"""Best and worst pictures of a report: the picture, what was marked, what is true, drawn side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core import rle
from pixelsleuth.errors import PictureError
from pixelsleuth.evaluation.figures import Frame
from pixelsleuth.evaluation.pictures import Pictures, load
from pixelsleuth.evaluation.protocols import Protocol

SIDE = 320
EACH = 4
MISSED, RIGHT, ALARM = (216, 48, 104), (40, 170, 110), (255, 176, 44)
"""Colours of the overlay: tampered and not marked, tampered and marked, marked and not tampered."""


def examples_of(frame: Frame, pictures: Pictures, protocol: Protocol) -> list[dict[str, Any]]:
    """Groups of pictures: best and worst by pixel F1, surest errors, largest false alarms; those that can be read."""
    f1, area = frame.pixel["f1"], frame.pixel["alarm_area"]
    measured = np.flatnonzero(~np.isnan(f1))
    order = measured[np.argsort(f1[measured], kind="stable")]
    wrong = np.flatnonzero(~frame.right)
    real = np.flatnonzero((frame.truth == 0) & ~np.isnan(area))
    groups: list[tuple[str, Any]] = [
        ("Best localized", order[::-1][:EACH]),
        ("Worst localized", [i for i in order[:EACH] if i not in set(order[::-1][:EACH].tolist())]),
        ("Surest errors", wrong[np.argsort(-frame.confidence[wrong], kind="stable")][:EACH]),
        (
            "Largest false alarms on real pictures",
            real[np.argsort(-np.nan_to_num(area[real]), kind="stable")][:EACH],
        ),
    ]
    samples = dict(pictures)
    sections = []
    for title, indices in groups:
        cards = [card for i in indices if (card := _card(frame, int(i), samples, protocol)) is not None]
        if cards:
            sections.append({"title": title, "cards": cards})
    return sections


def _card(frame: Frame, i: int, samples: dict[int, Any], protocol: Protocol) -> dict[str, Any] | None:
    from pixelsleuth.reporting.thumbnails import jpeg_uri, thumbnail

    row = frame.rows[i]
    sample = samples.get(int(row["index"]))
    if sample is None:
        return None
    try:
        loaded = load(sample, protocol)
    except PictureError:
        return None
    pixels, truth = loaded.picture.pixels, loaded.mask
    marked = rle.decode(row["mask"]) if row.get("mask") else None
    drawn = None
    if truth is not None and marked is not None and marked.shape == truth.shape:
        drawn = painted(pixels, truth, marked)
    figures = {name: float(frame.pixel[name][i]) for name in ("f1", "iou", "alarm_area")}
    return {
        "path": row["path"],
        "label": row["label"],
        "predicted": row["predicted"],
        "confidence": float(frame.confidence[i]),
        "inconclusive": bool(row["inconclusive"]),
        "figures": {name: value for name, value in figures.items() if not np.isnan(value)},
        "explanation": row.get("explanation", ""),
        "picture": jpeg_uri(thumbnail(pixels, SIDE), quality=82),
        "overlay": jpeg_uri(thumbnail(drawn, SIDE), quality=82) if drawn is not None else "",
    }


def painted(
    pixels: NDArray[np.uint8], truth: NDArray[np.bool_], marked: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the picture in grey with hits, misses and false alarms in their colours."""
    grey = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.75 + 50
    for where, colour in ((truth & marked, RIGHT), (truth & ~marked, MISSED), (marked & ~truth, ALARM)):
        grey[where] = 0.45 * grey[where] + 0.55 * np.array(colour)
    return grey.clip(0, 255).astype(np.uint8)
