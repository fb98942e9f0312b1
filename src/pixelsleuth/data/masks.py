"""Ground-truth masks of published sets in one form: (H, W) bool, upright, True where tampered.

Public masks differ in what marks the forgery (white, black, a transparent hole, a hue, polygons), in size, compression
and orientation. `Mask` says what is stored. `read_mask` reads it: threshold at half (never `> 0`, which JPEG noise
exceeds), resized to the picture with nearest neighbour, turned with its EXIF orientation. `MaskReading` reports every
correction, so that `pixelsleuth datasets verify` can count it. A mask that can be understood in two ways is refused
(`mask_levels`): a mask is never empty because it was not understood.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.data.mask_levels import LEVEL, hue, levels_of, open_stored
from pixelsleuth.data.mask_levels import Marks as Marks


@dataclass(frozen=True)
class Mask:
    """A stored mask: a file, its bytes, or polygons (x0, y0, x1, y1, ... in pixels of the stored picture), and what
    marks the forgery in it.
    """

    file: Path | bytes | None = field(default=None, repr=False)
    marks: Marks = Marks.WHITE
    polygons: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class MaskReading:
    """A mask as read.

    pixels: (H, W) bool, in the size of the upright picture.
    stored: the (width, height) of the mask's file.
    resized: that size was not the picture's.
    swapped: it was the picture's with width and height exchanged; the mask is most likely transposed, and wrong.
    turned: an EXIF orientation was applied.
    grey_levels: levels other than the two ends. Where there are any, `over_zero` (stored pixels above 0) and
        `over_half` (from the threshold on) show how much the threshold matters.
    """

    pixels: NDArray[np.bool_] = field(repr=False)
    stored: tuple[int, int]
    resized: bool = False
    swapped: bool = False
    turned: bool = False
    grey_levels: int = 0
    over_zero: int = 0
    over_half: int = 0

    @property
    def share(self) -> float:
        """Share of the picture that is marked, 0..1."""
        return float(self.pixels.mean())


def read_mask(
    mask: Mask | Path | bytes, size: tuple[int, int], orientation: int = 1, *, level: int = LEVEL
) -> MaskReading:
    """Read `mask` for an upright picture of `size` (width, height) whose file has EXIF `orientation` (1..8).

    Pixels from the grey `level` (1..255) on are marked. A mask without an orientation of its own is turned with the
    picture, unless its size says that it is upright already. Raises PictureError where the mask cannot be read.
    """
    mask = mask if isinstance(mask, Mask) else Mask(mask)
    if mask.marks in (Marks.ALL, Marks.NONE):
        return MaskReading(np.full(size[::-1], mask.marks is Marks.ALL), size)
    stored = (size[1], size[0]) if orientation >= 5 else size
    if mask.polygons:
        marked, own, counts = _drawn(mask.polygons, stored), 1, (0, 0, 0)
    else:
        marked, own, counts = _stored(mask, level)
    width, height = marked.shape[1], marked.shape[0]
    turn = own if own > 1 else orientation if _lies_as_stored((width, height), size, stored) else 1
    upright = _turned(marked, turn) if turn > 1 else marked
    fits = upright.shape == size[::-1]
    return MaskReading(
        pixels=upright if fits else _nearest(upright, size),
        stored=(width, height),
        resized=not fits,
        swapped=not fits and upright.shape == size,
        turned=turn > 1,
        grey_levels=counts[0],
        over_zero=counts[1],
        over_half=counts[2],
    )


def _lies_as_stored(mask: tuple[int, int], size: tuple[int, int], stored: tuple[int, int]) -> bool:
    if mask == stored or size == stored:
        return True
    if mask == size:
        return False
    # Another size than either: the proportions decide.
    wide = mask[0] > mask[1]
    return wide == (stored[0] > stored[1])


def _turned(marked: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    from pixelsleuth.pictures.colour import as_stored

    height, width = marked.shape
    upright = np.empty((width, height) if orientation >= 5 else (height, width), bool)
    as_stored(upright, orientation)[:] = marked
    return upright


def _nearest(marked: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize (h, w) to `size` (width, height): the nearest pixel's value, so that no new level comes into being."""
    width, height = size
    rows = ((np.arange(height) + 0.5) * marked.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * marked.shape[1] / width).astype(np.intp)
    return marked[rows[:, None], columns[None, :]]


def _drawn(polygons: tuple[tuple[float, ...], ...], size: tuple[int, int]) -> NDArray[np.bool_]:
    from PIL import Image, ImageDraw

    canvas = Image.new("1", size)
    pen = ImageDraw.Draw(canvas)
    for polygon in polygons:
        if len(polygon) >= 6:
            pen.polygon(list(zip(polygon[::2], polygon[1::2], strict=False)), fill=1)
    return np.asarray(canvas)


def _stored(mask: Mask, level: int) -> tuple[NDArray[np.bool_], int, tuple[int, int, int]]:
    """(marked pixels as stored, the mask's own EXIF orientation, (grey levels, pixels > 0, pixels marked))."""
    image, header, name = open_stored(mask.file)
    if mask.marks in (Marks.RED, Marks.GREEN):
        marked = hue(image, name, level, green=mask.marks is Marks.GREEN)
        return marked, header.orientation, (0, int(marked.sum()), int(marked.sum()))
    values = levels_of(image, header, name, mask.marks)
    marked = values >= level
    return marked, header.orientation, _counts(values, marked)


def _counts(values: NDArray[np.uint8], marked: NDArray[np.bool_]) -> tuple[int, int, int]:
    """(levels between the two ends, pixels above 0, marked pixels) of (h, w) uint8."""
    over_zero, over_half = int(np.count_nonzero(values != 0)), int(np.count_nonzero(marked))
    if over_zero == over_half == int(np.count_nonzero(values == 255)):
        return 0, over_zero, over_half
    histogram = np.bincount(values.reshape(-1), minlength=256)
    return int((histogram[1:255] > 0).sum()), over_zero, over_half
