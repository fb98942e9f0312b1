"""Regions of a picture whose JPEG grid differs from the rest, each with a bound on the number of false alarms.

JPEG rounds the cosine coefficients of blocks of 8 x 8 pixels, most of them to zero. Read at the place of the blocks, a
picture has many zeros; read one pixel aside, few. So every pixel votes for one of 64 origins of a grid. A part that was
pasted from another JPEG keeps its own grid. Written from the description in T. Nikoukhah, J. Anger, M. Colom,
J.-M. Morel and R. Grompone von Gioi, "ZERO: a local JPEG grid origin detector based on the number of DCT zeros and its
applications in image forensics", Image Processing On Line 11, 2021. Regions are grown and tested on cells of 8 x 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.a_contrario import components, log_tail
from pixelsleuth.evidence.finding import Finding

NO_VOTE = 64
"""What a pixel holds that votes for no grid: two blocks have as many zeros, or the best block is flat."""
BAND = 512
"""Rows of pixels that vote at once: memory is bounded for the largest pictures."""
ROWS = 64
"""Rows of block positions that are transformed at once."""
LARGEST_NFA = 1e-3
"""Expected number of false alarms in a picture without any JPEG structure, at most. The paper takes 1."""
OWN_SHARE = 0.5
"""Share of a cell's pixels that must vote for the same grid."""
SMALLEST = 16
"""Cells of a region: 1,024 pixels."""
SMALLEST_SHARE = 0.2
"""Share of the pixels of a region's box that must vote for its grid."""
MOST_REGIONS = 3
FINER_BLOCKS = 4
"""Pixels: WebP and AVIF have blocks of this size, whose edges look like JPEG grids that are shifted by as much."""
FINER_SHARE = 0.4
"""Share of the votes from which a grid is that of a JPEG; those blocks reached 0.21."""
SMALLEST_REST = 0.25
"""Share of the cells outside a region, and of their pixels that vote, without which nothing is said of the rest."""
FALSE_ALARMS = {"grid": 0.0005, "crop": 0.0005}
"""Share of 1,829 authentic pictures on which each speaks, measured by `benchmarks/evidence.py`: one of them."""


@dataclass(frozen=True)
class Region:
    """A part with a grid of its own: `box` (x0, y0, x1, y1) half open, `origin` (x, y) in 0..7, log10 of its NFA."""

    box: tuple[int, int, int, int]
    origin: tuple[int, int]
    log_nfa: float
    share: float


@dataclass(frozen=True)
class Grids:
    """The grid of a picture (None: none is significant), log10 of its NFA, and the regions with another, best first.

    `share` of all votes is for the best grid. `counts` (H // 8, W // 8, 64) uint8 are the votes for each grid of the 64
    pixels of each cell.
    """

    main: tuple[int, int] | None
    log_nfa: float
    regions: tuple[Region, ...]
    share: float
    counts: NDArray[np.uint8] = field(repr=False, compare=False)


def grid_findings(pixels: NDArray[np.uint8], grids: Grids | None = None) -> list[Finding]:
    """Return what the JPEG grids of an upright picture (H, W, 3) uint8 show: regions with another grid; a crop.

    `grids` are those of the picture, where they are known already.
    """
    grids = grids_of(pixels) if grids is None else grids
    height, width = pixels.shape[:2]
    findings = [_region_finding(region, grids) for region in grids.regions]
    # A picture that was turned has its first grid at another corner.
    corners = {(x, y) for x in (0, width % 8) for y in (0, height % 8)}
    elsewhere = grids.main not in corners and not _is_finer(grids.main or (0, 0), (0, 0), grids.share)
    if grids.main is not None and elsewhere:
        statement = (
            "The picture was compressed as JPEG and then cropped or moved: its grid of 8 x 8 pixels begins at "
            f"{grids.main} instead of a corner. That is no sign of a forgery."
        )
        detail = {"grid": list(grids.main), "log10_nfa": round(grids.log_nfa, 1)}
        findings.append(Finding("crop", statement, "hints", FALSE_ALARMS["crop"], detail=detail))
    return findings


def _is_finer(origin: tuple[int, int], other: tuple[int, int], share: float) -> bool:
    """True where a grid that few pixels vote for, and another, may be the blocks of WebP or AVIF."""
    apart = ((a - b) % FINER_BLOCKS for a, b in zip(origin, other, strict=True))
    return share < FINER_SHARE and not any(apart)


def _region_finding(region: Region, grids: Grids) -> Finding:
    if grids.main is None:
        statement = (
            f"A region carries the grid of an earlier JPEG compression (origin {region.origin}) that the rest of the "
            "picture does not carry: the region was probably put there from another picture."
        )
    else:
        statement = (
            f"The JPEG grid of a region begins at {region.origin}, that of the rest at {grids.main}: the region was "
            "put there after it had been compressed (pasted, or moved within the picture)."
        )
    statement += " Collages and screenshots show the same; it does not say what was changed."
    detail = {
        "grid": list(region.origin),
        "main_grid": None if grids.main is None else list(grids.main),
        "log10_nfa": round(region.log_nfa, 1),
        "share_of_votes": round(region.share, 3),
    }
    return Finding("grid", statement, "shows", FALSE_ALARMS["grid"], region.box, detail)


def grids_of(pixels: NDArray[np.uint8]) -> Grids:
    """Return the JPEG grid of a picture (H, W, 3) uint8 and the regions that have another."""
    height, width = pixels.shape[:2]
    if min(height, width) < 32:
        return Grids(None, 0.0, (), 0.0, np.zeros((height // 8, width // 8, 64), np.uint8))
    counts = np.concatenate([_cells(_band_votes(pixels, top)) for top in range(0, height, BAND)])
    totals = counts.sum(axis=(0, 1), dtype=np.int64)
    best = int(totals.argmax())
    samples = height * width / 64
    # 64 grids are tested once each on the whole picture.
    log_nfa = math.log10(64) + log_tail(samples, int(totals[best]) / 64, 1 / 64)
    main = best if log_nfa < math.log10(LARGEST_NFA) and not _only_a_part(counts, best) else None
    regions = _regions(counts, main)
    share = int(totals[best]) / max(int(totals.sum()), 1)
    origin = None if main is None else (main % 8, main // 8)
    return Grids(origin, log_nfa, tuple(regions[:MOST_REGIONS]), share, counts)


# --- votes -----------------------------------------------------------------------------------------------------------


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luminance of (H, W, 3) uint8: (H, W) float32, 0..255 (ITU-R BT.601).

    It is not rounded: rounding would add noise to the coefficients.
    """
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def votes_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return for each pixel of (H, W, 3) uint8 the grid that it votes for, 8 * y + x, or NO_VOTE: (H, W) uint8."""
    return np.concatenate([_band_votes(pixels, top) for top in range(0, len(pixels), BAND)])


def _band_votes(pixels: NDArray[np.uint8], top: int) -> NDArray[np.uint8]:
    """The votes of up to BAND rows of pixels from `top` on; the blocks that hold them reach 7 rows further."""
    start, stop = max(0, top - 7), min(len(pixels), top + BAND + 7)
    if stop - start < 8:
        return np.empty((0, pixels.shape[1]), np.uint8)
    return _votes(luminance(pixels[start:stop]), start)[top - start : top - start + BAND]


def _votes(grey: NDArray[np.float32], start: int) -> NDArray[np.uint8]:
    """(H, W) uint8: for each pixel the grid whose block around it has strictly the most zeros, 8 * y + x; or NO_VOTE.

    `start` is the row of the picture with which `grey` (H, W) begins. The 64 blocks that hold a pixel have the 64
    origins, each once. A block's key is its zeros and its origin; the largest key among the 64 is taken twice, with the
    origins in rising and in falling order: the same origin wins both times only where no other block has as many zeros.
    Flat blocks carry keys that never agree.
    """
    height, width = grey.shape
    origins = ((start + np.arange(height - 7)) % 8)[:, None] * 8 + np.arange(width - 7) % 8
    zeros = _zeros(grey).astype(np.uint16) << 6
    flat = _flat(grey)
    rising = (zeros + np.where(flat, 63, origins)).astype(np.uint16)
    falling = (zeros + np.where(flat, 63, 63 - origins)).astype(np.uint16)
    first, second = _largest_around(rising) & 63, 63 - (_largest_around(falling) & 63)
    return np.where(first == second, first, NO_VOTE).astype(np.uint8)


def _zeros(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H - 7, W - 7) uint8: how many of the 63 alternating coefficients of the block at each place are below 0.5."""
    height, width = grey.shape
    basis = cosines()
    result = np.empty((height - 7, width - 7), np.uint8)
    for top in range(0, height - 7, ROWS):
        rows = min(ROWS, height - 7 - top)
        band = grey[top : top + rows + 7]
        windows = np.lib.stride_tricks.sliding_window_view(band, 8, axis=0)  # (rows, W, 8)
        columns = np.ascontiguousarray(windows.transpose(2, 0, 1)).reshape(8, -1)
        vertical = (basis @ columns).reshape(8, rows, width)
        count = np.zeros((rows, width - 7), np.uint8)
        for index in range(8):
            shifted = np.lib.stride_tricks.sliding_window_view(vertical[index], 8, axis=1)
            stacked = np.ascontiguousarray(shifted.transpose(2, 0, 1)).reshape(8, -1)
            coefficients = (basis if index else basis[1:]) @ stacked
            small = np.abs(coefficients, out=coefficients) < 0.5
            count += small.view(np.uint8).sum(axis=0, dtype=np.uint8).reshape(count.shape)
        result[top : top + rows] = count
    return result


def cosines() -> NDArray[np.float32]:
    """Return the orthonormal cosine transform of 8 samples, (8, 8) float32: ITU-T T.81, A.3.3."""
    angle = (2 * np.arange(8) + 1)[None, :] * np.arange(8)[:, None] * (math.pi / 16)
    scale = np.where(np.arange(8) == 0, math.sqrt(1 / 8), 0.5)[:, None]
    return (np.cos(angle) * scale).astype(np.float32)


def _flat(grey: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H - 7, W - 7): True for blocks without any change along their rows or along their columns."""
    across = _any_in(_any_in(grey[:, 1:] != grey[:, :-1], 8, 0), 7, 1)
    down = _any_in(_any_in(grey[1:] != grey[:-1], 7, 0), 8, 1)
    return ~(across & down)


def _any_in(values: NDArray[Any], length: int, axis: int) -> NDArray[Any]:
    """The largest of each `length` values in a row along an axis (for bool: any), by doubling."""
    size = 1
    rows = np.moveaxis(values, axis, 0)
    while size < length:
        step = min(size, length - size)
        rows = np.maximum(rows[:-step], rows[step:])
        size += step
    return np.moveaxis(rows, 0, axis)


def _largest_around(keys: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(H, W) for (H - 7, W - 7): the largest key among the blocks that hold each pixel."""
    return _any_in(_any_in(np.pad(keys, 7), 8, 0), 8, 1)


# --- regions ---------------------------------------------------------------------------------------------------------


def _cells(votes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H // 8, W // 8, 64) uint8: how many of the 64 pixels of each cell vote for each grid."""
    height, width = votes.shape[0] // 8, votes.shape[1] // 8
    result = np.empty((height, width, 64), np.uint8)
    place = np.repeat(np.arange(width), 8)[None, :] * 65
    for top in range(0, height, 32):
        band = votes[8 * top : 8 * min(top + 32, height), : 8 * width]
        rows = len(band) // 8
        index = band + place + (np.repeat(np.arange(rows), 8) * (65 * width))[:, None]
        counts = np.bincount(index.ravel(), minlength=65 * width * rows)
        result[top : top + rows] = counts.reshape(rows, width, 65)[..., :64]
    return result


def _regions(counts: NDArray[np.uint8], main: int | None) -> list[Region]:
    """The significant regions with another grid than the main one, the least likely by chance first."""
    height, width = counts.shape[:2]
    # Every rectangle of cells is a candidate, with every grid.
    tests = math.log10(64) + 2 * math.log10(height * width) - math.log10(4)
    regions: list[Region] = []
    for grid in range(64):
        if grid == main:
            continue
        origin, other = (grid % 8, grid // 8), (0, 0) if main is None else (main % 8, main // 8)
        plane = counts[..., grid]
        for component in components(plane >= OWN_SHARE * 64):
            if len(component) < SMALLEST:
                continue
            (y0, x0), (y1, x1) = component.min(axis=0), component.max(axis=0) + 1
            inside = plane[y0:y1, x0:x1]
            hits, samples = int(inside.sum(dtype=np.int64)) / 64, inside.size
            log_nfa, share = tests + log_tail(samples, hits, 1 / 64), hits / samples
            if log_nfa >= math.log10(LARGEST_NFA) or _is_finer(origin, other, share):
                continue
            if share >= SMALLEST_SHARE:
                box = (int(8 * x0), int(8 * y0), int(8 * x1), int(8 * y1))
                regions.append(Region(box, origin, log_nfa, share))
    return sorted(regions, key=lambda region: region.log_nfa)


def _only_a_part(counts: NDArray[np.uint8], grid: int) -> bool:
    """True where a grid stands in one region alone, and the rest, a quarter at least, votes for it only by chance."""
    largest = max(components(counts[..., grid] >= OWN_SHARE * 64), key=len, default=None)
    if largest is None:
        return False
    (y0, x0), (y1, x1) = largest.min(axis=0), largest.max(axis=0) + 1
    rest = np.ones(counts.shape[:2], bool)
    rest[y0:y1, x0:x1] = False
    votes, cast = int(counts[rest, grid].sum(dtype=np.int64)), int(counts[rest].sum(dtype=np.int64))
    enough = min(int(rest.sum()) / rest.size, cast / max(64 * int(rest.sum()), 1)) >= SMALLEST_REST
    return enough and votes <= 2 * cast / 64
