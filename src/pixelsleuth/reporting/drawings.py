"""The pictures of findings in a page: places drawn over a small copy, embedded illustrations, pictures to look at.

A drawing is vectors over one small copy of the picture, which a card holds once however many drawings use it. The
number of drawings and the bytes of a card's illustrations are bounded, so that a page of many pictures stays small.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pixelsleuth.core.examining import Illustration
    from pixelsleuth.core.verdict import Verdict

Box = tuple[int, int, int, int]

SIDE = 320
"""Longer side of a drawing's copy of the picture, in pixels."""
QUALITY = 78
"""JPEG quality of that copy: it only says where."""
MOST_DRAWN = 6
"""Drawings of a card."""
MOST_LINES = 40
"""Matched pairs of a drawing."""
BYTES_A_PIXEL = 256
"""Bytes of all illustrations of a card, a pixel of `side`: 80 KB in a small report."""
LOOK_SIDE = 512
"""Longer side of a picture to look at beside a verdict, in pixels."""
LOOK_QUALITY = 75
"""JPEG quality of pictures to look at."""
KINDS = ("image/jpeg", "image/png")
_CAPTIONS = {
    "copy_move": "The lines join places that show the same; which is the copy cannot be told.",
    "grid": "The region whose JPEG grid differs.",
    "missing_grid": "The region that lacks the JPEG grid of the rest.",
    "noise": "The region whose noise differs.",
}


class Sketches:
    """The drawings and illustrations of one card; `number` is the card's own in its page."""

    def __init__(self, verdict: Verdict, number: int, side: int = SIDE) -> None:
        self.verdict, self.number, self.side = verdict, number, side
        self.drawn = 0
        self.left = BYTES_A_PIXEL * side

    def draw(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Return the boxes and lines of a finding over the picture; None where it has no place, or enough are drawn."""
        picture = self.verdict.picture
        boxes, lines = _shapes(entry)
        if picture is None or not (boxes or lines) or self.drawn >= MOST_DRAWN:
            return None
        self.drawn += 1
        from pixelsleuth.reporting import thumbnails

        # The first drawing brings the copy, the others refer to it.
        small = thumbnails.thumbnail(picture.pixels, self.side) if self.drawn == 1 else None
        kind = str(entry.get("kind"))
        return {
            "id": f"s{self.number}",
            "href": thumbnails.jpeg_uri(small, quality=QUALITY) if small is not None else None,
            "width": picture.width,
            "height": picture.height,
            "shown": shown_size(picture.width, picture.height, self.side),
            "boxes": [{"x": x0, "y": y0, "w": x1 - x0, "h": y1 - y0} for x0, y0, x1, y1 in boxes],
            "lines": lines,
            "caption": _CAPTIONS.get(kind, "The region that this finding is about."),
        }

    def embed(self, pictures: Sequence[Illustration]) -> list[dict[str, str]]:
        """Return illustrations as data URIs with their captions, as long as the card's share of bytes lasts."""
        embedded = []
        for picture in pictures:
            if picture.media_type not in KINDS or len(picture.image) > self.left:
                continue
            self.left -= len(picture.image)
            text = base64.b64encode(picture.image).decode("ascii")
            embedded.append({"uri": f"data:{picture.media_type};base64,{text}", "caption": picture.caption})
        return embedded


class Look(Protocol):
    """A picture to look at, no finding (`evidence.enhancers.Enhancer`); `image` is (h, w, 3) uint8."""

    @property
    def title(self) -> str: ...
    @property
    def what_to_look_for(self) -> str: ...
    @property
    def what_to_ignore(self) -> str: ...
    @property
    def image(self) -> NDArray[np.uint8]: ...


def look_values(looks: Sequence[Look], side: int) -> list[dict[str, Any]]:
    """Return pictures to look at as data URIs of at most `side` pixels, each with its two sentences."""
    from pixelsleuth.reporting import thumbnails

    values = []
    for look in looks:
        small = thumbnails.thumbnail(look.image, side)
        values.append(
            {
                "uri": thumbnails.jpeg_uri(small, quality=LOOK_QUALITY),
                "shown": small.size,
                "title": look.title,
                "look_for": look.what_to_look_for,
                "ignore": look.what_to_ignore,
            }
        )
    return values


def shown_size(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) of a picture whose longer side is shown at `side` pixels, at most twice its size.

    >>> shown_size(4000, 3000, 320), shown_size(16, 32, 320)
    ((320, 240), (32, 64))
    """
    factor = min(side / max(width, height), 2.0)
    return max(1, round(width * factor)), max(1, round(height * factor))


def box_of(values: Any) -> Box | None:
    """Return four numbers of a record as a box in whole pixels; None where they are no box."""
    four = _four(values)
    if four is None:
        return None
    x0, y0, x1, y1 = (int(value) for value in four)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _shapes(entry: dict[str, Any]) -> tuple[list[Box], list[list[float]]]:
    """The boxes and the lines of a finding, out of a record that anybody may have written."""
    detail = entry.get("detail")
    detail = detail if isinstance(detail, dict) else {}
    listed = detail.get("boxes")
    candidates = listed[:MOST_DRAWN] if isinstance(listed, list) and listed else [entry.get("region")]
    boxes = [box for values in candidates if (box := box_of(values)) is not None]
    lines = detail.get("lines")
    lines = lines[:MOST_LINES] if isinstance(lines, list) else []
    return boxes, [four for values in lines if (four := _four(values)) is not None]


def _four(values: Any) -> list[float] | None:
    if not isinstance(values, list | tuple) or len(values) != 4:
        return None
    numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return list(values) if numbers else None
