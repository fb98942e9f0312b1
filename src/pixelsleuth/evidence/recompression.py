"""Traces of an earlier JPEG save on the same grid: in a JPEG that was saved twice, in a PNG that was a JPEG before.

The cosine coefficients of a JPEG are multiples of the steps of its quantisation table. Saved again with smaller steps,
they leave some of the new multiples empty and others full, in a pattern that repeats. For each standard table of a
lower quality, the histograms of the low frequencies are compared with what two saves predict and with what one save
predicts. Sources: A. C. Popescu and H. Farid, "Statistical Tools for Digital Forensics", Information Hiding 2004,
section 2; Z. Lin, J. He, X. Tang and C.-K. Tang, "Fast, automatic and fine-grained tampered JPEG image detection via
DCT coefficient analysis", Pattern Recognition 42(11), 2009; E. Y. Lam and J. W. Goodman, "A mathematical analysis of
the DCT coefficient distributions for images", IEEE Transactions on Image Processing 9(10), 2000 (Laplace).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.compression import zigzag
from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.grid import cosines, luminance
from pixelsleuth.pictures.colour import as_stored
from pixelsleuth.pictures.formats.jpeg import scaled_tables
from pixelsleuth.pictures.images import Picture

FREQUENCIES = 15
"""Low frequencies that are examined, in zigzag order after the mean; higher ones are mostly zero."""
MULTIPLES = 60
"""Multiples of a step that are counted."""
MOST_BLOCKS = 16_384
"""Blocks of 8 x 8 that are examined at most (one megapixel); of larger pictures every second, third ... row of them."""
FEWEST_COEFFICIENTS = 500
LOWEST_QUALITY = 30
"""Of an earlier save."""
QUALITY_GAP = 2
"""An earlier save is looked for at qualities at least this much lower."""
NOISE = 0.36
"""Standard deviation of a coefficient that was rounded as pixels: luminance (0.29), then colours (0.2)."""
OTHERWISE = 0.02
"""Share of the coefficients that one save explains although there were two: clipped or touched blocks."""
SMALLEST_MEAN = 1.02
"""Multiples, on average, at least: below it a rate would be fitted to a handful of coefficients."""
TINY = 1e-300
LARGEST_POWER = 500.0
SMALLEST_EVIDENCE = 100.0
"""Logarithm (base e) of the likelihood ratio of two saves to one, at least."""
SMALLEST_EVIDENCE_EACH = 0.02
"""The same for each coefficient: what the model of the histograms misses grows with their number."""

MOST_OFF = 0.15
"""Mean distance of the coefficients from multiples of their step, in steps; without any order it is 0.25."""
CHECKED_STEP = 4
"""Steps from which that distance tells something: it is larger than the noise."""
LOSSLESS = ("PNG", "BMP", "TIFF")
"""Formats that keep the traces of an earlier JPEG save."""
FALSE_ALARMS = {"double_compression": 0.0013, "earlier_jpeg": 0.0}
"""Share of pictures saved once, or never, as JPEG on which each speaks, measured by `benchmarks/resaves.py`."""

Pixels = NDArray[np.uint8]
Histogram = NDArray[np.float64]


@dataclass(frozen=True)
class EarlierSave:
    """The most likely earlier JPEG save: its `quality` (standard tables), and how much likelier two saves are than one.

    `evidence` is the logarithm (base e) of the likelihood ratio, `coefficients` how many it rests on.
    """

    quality: int
    evidence: float
    coefficients: int


def recompression_findings(picture: Picture) -> list[Finding]:
    """Return a hint where the pixels of a picture carry an earlier JPEG save on the same grid.

    Silent where the earlier save was of the same or of a higher quality, where the picture was cropped or reduced
    between, on pictures without texture, and on formats that lose the traces themselves.
    """
    if picture.steps is None and picture.format not in LOSSLESS:
        return []
    stored = as_stored(picture.pixels, picture.orientation)
    earlier = earlier_save(stored, picture.steps or (1,) * 64)
    if earlier is None:
        return []
    if picture.steps is not None:
        kind, last = "double_compression", "then saved as JPEG again"
    else:
        kind, last = "earlier_jpeg", f"then saved as {picture.format}"
    statement = (
        f"The picture was saved as JPEG at a quality near {earlier.quality} of 100 and {last}, without being cropped "
        "or resized between. Every later save does that; it is no sign of a forgery."
    )
    detail = {"first_quality": earlier.quality, "log_likelihood_ratio": round(earlier.evidence, 1)}
    return [Finding(kind, statement, "hints", FALSE_ALARMS[kind], detail=detail)]


def earlier_save(pixels: Pixels, steps: tuple[int, ...]) -> EarlierSave | None:
    """Return the earlier JPEG save that pixels (H, W, 3) uint8, as stored, carry; None where none is sure.

    `steps` are the 64 luminance steps of the last save in zigzag order, all 1 where that was no JPEG.
    """
    coefficients = _coefficients(pixels)
    if not _on_multiples(coefficients, steps):
        return None
    tables = scaled_tables()
    last = int(np.abs(tables - np.array(steps)).sum(axis=1).argmin()) + 1
    ratios = np.zeros(max(0, last - QUALITY_GAP - LOWEST_QUALITY + 1))
    counted = 0
    for index in range(1, FREQUENCIES + 1):
        counts = _histogram(coefficients[:, index - 1], steps[index])
        counted += int(counts.sum())
        firsts = tables[LOWEST_QUALITY - 1 :][: len(ratios), index]
        ratios += _ratios(counts, steps[index], firsts)
    if len(ratios) == 0 or counted < FEWEST_COEFFICIENTS:
        return None
    best = int(ratios.argmax())
    if ratios[best] < max(SMALLEST_EVIDENCE, SMALLEST_EVIDENCE_EACH * counted):
        return None
    return EarlierSave(LOWEST_QUALITY + best, float(ratios[best]), counted)


# --- coefficients ----------------------------------------------------------------------------------------------------


def _coefficients(pixels: Pixels) -> NDArray[np.float32]:
    """(blocks, FREQUENCIES) of the luminance; without the blocks that were clipped to black or white."""
    rows, columns = pixels.shape[0] // 8, min(pixels.shape[1] // 8, MOST_BLOCKS)
    every = max(1, -(-rows * columns // MOST_BLOCKS))
    # Chosen before anything is copied: a turned picture is a view.
    chosen = (8 * np.arange(0, rows, every)[:, None] + np.arange(8)).ravel()
    blocks = luminance(pixels[chosen, : 8 * columns]).reshape(len(chosen) // 8, 8, columns, 8)
    grey = blocks.transpose(0, 2, 1, 3).reshape(-1, 64)
    inside = (grey.min(axis=1, initial=255) > 0) & (grey.max(axis=1, initial=0) < 255)
    return grey[inside] @ _basis()


@functools.cache
def _basis() -> NDArray[np.float32]:
    """(64, FREQUENCIES): each frequency as a block of 8 x 8."""
    cosine = cosines()
    return np.stack(
        [np.outer(cosine[y], cosine[x]).ravel() for y, x in zigzag()[1 : FREQUENCIES + 1]], axis=1
    )


def _on_multiples(coefficients: NDArray[np.float32], steps: tuple[int, ...]) -> bool:
    """False where the pixels are no longer those that the table gave: other colours, or another component."""
    wide = [index for index in range(FREQUENCIES) if steps[index + 1] >= CHECKED_STEP]
    if not wide or not len(coefficients):
        return True
    multiples = coefficients[:, wide] / np.array([steps[index + 1] for index in wide], np.float32)
    beyond = np.abs(multiples) > 0.5  # zero is a multiple of everything
    return not beyond.any() or float(np.abs(multiples - np.rint(multiples))[beyond].mean()) < MOST_OFF


def _histogram(coefficients: NDArray[np.float32], step: int) -> Histogram:
    """(MULTIPLES,): how many coefficients are 1, 2, 3 ... steps large, of either sign."""
    multiples = np.abs(np.rint(coefficients / step)).astype(np.int64)
    return np.bincount(multiples[multiples <= MULTIPLES], minlength=MULTIPLES + 1)[1:].astype(np.float64)


# --- one save or two -------------------------------------------------------------------------------------------------


def _ratios(counts: Histogram, step: int, firsts: NDArray[np.int32]) -> NDArray[np.float64]:
    """The logarithm of the likelihood ratio of two saves, the first with each of the steps `firsts`, to one."""
    total = float(counts.sum())
    if total == 0:
        return np.zeros(len(firsts))
    mean = float(counts @ np.arange(1, MULTIPLES + 1)) / total
    # Maximum likelihood for Laplace's distribution: its multiples from 1 on are distributed geometrically.
    rate = -math.log(1 - 1 / max(mean, SMALLEST_MEAN)) / step
    once = _once(step, rate)
    known = {step: 0.0}
    for first in set(firsts.tolist()) - {step}:
        twice = (1 - OTHERWISE) * _twice(first, step, rate) + OTHERWISE * once
        known[first] = float(counts @ np.log(twice / once))
    return np.array([known[first] for first in firsts.tolist()])


def _once(step: int, rate: float) -> Histogram:
    """(MULTIPLES,): the share of the coefficients at 1, 2, 3 ... steps after one save, by Laplace's `rate`."""
    edges = np.exp(-rate * step * (np.arange(MULTIPLES + 1) + 0.5))
    share = np.maximum(edges[:-1] - edges[1:], TINY)
    return share / share.sum()


def _twice(first: int, step: int, rate: float) -> Histogram:
    """`_once` after a save with the step `first`, rounding to pixels, and a save with `step`."""
    most = MULTIPLES * step // first + 2
    edges = np.exp(-rate * first * (np.arange(most + 1) + 0.5))
    share = np.concatenate([[2 * (1 - edges[0])], edges[:-1] - edges[1:]])  # zero is left to both sides
    share = share @ _spread(first, step, most)
    return share / max(float(share.sum()), TINY)


@functools.lru_cache(maxsize=2048)
def _spread(first: int, step: int, most: int) -> NDArray[np.float64]:
    """(most + 1, MULTIPLES): the chance that a multiple of `first` becomes each multiple of `step`."""
    edges = (np.arange(MULTIPLES + 1) + 0.5) * step
    beyond = (edges[None, :] - first * np.arange(most + 1)[:, None]) * (math.pi / (math.sqrt(3) * NOISE))
    # The logistic distribution of that variance: near the normal one, with a heavier tail, and in closed form.
    below = 1 / (1 + np.exp(-np.clip(beyond, -LARGEST_POWER, LARGEST_POWER)))
    return below[:, 1:] - below[:, :-1]
