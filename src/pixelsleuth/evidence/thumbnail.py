"""The thumbnail that EXIF carries, against the picture: cameras write it, and many editors leave the old one behind.

Source: EXIF 2.32, section 4.5.5 (IFD1). What is compared is the layout of bright and dark, so that changes of tone say
nothing; local edits are too small to be seen in it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.illustrations import illustration
from pixelsleuth.pictures.exif import read_directory

SMALLEST, LARGEST = 32, 1024
"""Sides of a thumbnail, in pixels."""
MOST_BYTES = 1 << 20
SAME, OTHER = 0.9, 0.5
"""Correlation from which two pictures show the same, and below which they do not."""
FALSE_ALARMS = 0.0
"""Share of authentic pictures, with thumbnails made for the test, on which this speaks: `benchmarks/evidence.py`."""
_OFFSET, _LENGTH = 0x0201, 0x0202
_TURNED = (
    "The embedded thumbnail lies turned or mirrored against the picture: the picture was turned after the thumbnail "
    "was made. That is no sign of a forgery."
)
_OTHER = (
    "The embedded thumbnail shows something else than the picture: the picture was cropped strongly or replaced after "
    "the thumbnail was made."
)

Grey = NDArray[np.float32]


def thumbnail_findings(exif: bytes | None, orientation: int, pixels: NDArray[np.uint8]) -> list[Finding]:
    """Return a finding where the thumbnail of an EXIF block is turned against the picture, or shows something else.

    `pixels` is upright, (H, W, 3) uint8; `orientation` 1 to 8 as EXIF states it. Thumbnails may lie as the picture is
    stored or upright: both are the same.
    """
    thumbnail = read_thumbnail(exif) if exif else None
    if thumbnail is None:
        return []
    scores = [similarity(turned, pixels) for turned in turns(_grey(thumbnail))]
    usual = max(scores[0], scores[orientation - 1] if 1 <= orientation <= 8 else 0.0)
    best = max(scores)
    turned = usual < OTHER and best >= SAME
    if not turned and best >= OTHER:
        return []
    statement = _TURNED if turned else _OTHER
    detail = {"correlation": round(usual, 3), "best_turned": round(best, 3)}
    pictures = (illustration("The embedded thumbnail", thumbnail), illustration("The picture", pixels))
    return [
        Finding(
            "thumbnail",
            statement,
            "hints" if turned else "shows",
            FALSE_ALARMS,
            detail=detail,
            pictures=pictures,
        )
    ]


def read_thumbnail(exif: bytes) -> NDArray[np.uint8] | None:
    """Return the JPEG thumbnail of an EXIF block, (h, w, 3) uint8; None where there is none to be read."""
    from PIL import Image

    view = memoryview(exif)
    while bytes(view[:5]) == b"Exif\0":
        view = view[6:]
    first = read_directory(view, whole=False)
    second = read_directory(view, first.next, whole=False) if first is not None and first.next else None
    if second is None:
        return None
    start, length = second.number(_OFFSET), second.number(_LENGTH)
    content = bytes(view[start : start + min(length, MOST_BYTES)])
    if content[:2] != b"\xff\xd8":
        return None
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if min(image.size) < SMALLEST or max(image.size) > LARGEST:
                return None
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def turns(grey: Grey) -> Iterator[Grey]:
    """Yield a picture (h, w) as the eight EXIF orientations, 1 to 8 in turn, would show it upright."""
    yield grey
    yield grey[:, ::-1]
    yield grey[::-1, ::-1]
    yield grey[::-1]
    yield grey.T
    yield np.rot90(grey, -1)
    yield grey[::-1, ::-1].T
    yield np.rot90(grey)


def similarity(thumbnail: Grey, pixels: NDArray[np.uint8]) -> float:
    """Return the correlation, -1 to 1, of a thumbnail with a picture reduced to its size; 1 where either is flat.

    The thumbnail may be stretched, hold the picture between bars, or be cut to its own proportions: the best counts.
    """
    height, width = thumbnail.shape
    tall, wide = pixels.shape[:2]
    inside = min(height / tall, width / wide)
    h, w = (max(8, round(side * inside)) for side in (tall, wide))
    y, x = (height - h) // 2, (width - w) // 2
    around = max(height / tall, width / wide)
    h2, w2 = (min(side, max(8, round(full / around))) for side, full in ((tall, height), (wide, width)))
    y2, x2 = (tall - h2) // 2, (wide - w2) // 2
    return max(
        _correlation(thumbnail, _reduced(pixels, height, width)),
        _correlation(thumbnail[y : y + h, x : x + w], _reduced(pixels, h, w)),
        _correlation(thumbnail, _reduced(pixels[y2 : y2 + h2, x2 : x2 + w2], height, width)),
    )


def _grey(picture: NDArray[np.uint8]) -> Grey:
    """The luminance (h, w), 0..255, of (h, w, 3)."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).convert("L"), np.float32)


def _reduced(pixels: NDArray[np.uint8], height: int, width: int) -> Grey:
    from PIL import Image

    step = max(1, min(pixels.shape[0] // (2 * height), pixels.shape[1] // (2 * width)))
    image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step])).convert("L")
    return np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32)


def _correlation(first: Grey, second: Grey) -> float:
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size > 4.0 * first.size else 1.0
