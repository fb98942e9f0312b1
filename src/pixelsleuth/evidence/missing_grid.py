"""Regions that lack the JPEG grid that the rest of the picture has: pasted from no JPEG, reduced, blurred, painted.

Smooth and saturated parts vote for no grid either. So a region that lacks it is saved once more as JPEG on the same
grid: what could carry a grid does so afterwards. After the second detection of ZERO (T. Nikoukhah, J. Anger, M. Colom,
J.-M. Morel and R. Grompone von Gioi, Image Processing On Line 11, 2021); the paper saves at quality 99, after which few
regions of our tests showed a grid.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.a_contrario import components, log_tail
from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.grid import (
    LARGEST_NFA,
    SMALLEST,
    SMALLEST_REST,
    Grids,
    Region,
    luminance,
    votes_of,
)

QUALITY = 95
"""At which a region is saved once more."""
LACKING = 32
"""Votes of the 64 of a cell for the picture's grid, at most, where it lacks."""
CAST = 16
"""Votes of a cell for any grid, at least: fewer are flat."""
MOST_CANDIDATES = 3
SMALLEST_MISSING = 0.4
"""Share of a region's pixels that vote for the grid only after one more save, at least."""
SMALLEST_KEPT = 0.95
"""Share of the votes of the rest that are for the picture's grid, at least."""
MARGIN = 8
"""Pixels around a region that take part in its votes."""
FALSE_ALARMS = 0.0006
"""Share of 3,129 authentic pictures on which it speaks, measured by `benchmarks/evidence.py`: two of them."""


def missing_grid_findings(pixels: NDArray[np.uint8], grids: Grids) -> list[Finding]:
    """Return the regions of a picture (H, W, 3) uint8, with its `grids`, that lack its grid; none where it has none."""
    return [_finding(region) for region in missing_regions(pixels, grids)]


def _finding(region: Region) -> Finding:
    statement = (
        "A region lacks the JPEG grid that the rest of the picture carries: it was put there, painted over, blurred or "
        "reduced after the rest had been compressed. Collages, captions and retouched skin show the same; it does not "
        "say what was changed."
    )
    detail = {
        "main_grid": list(region.origin),
        "log10_nfa": round(region.log_nfa, 1),
        "share_of_votes": round(region.share, 3),
    }
    return Finding("missing_grid", statement, "shows", FALSE_ALARMS, region.box, detail)


def missing_regions(pixels: NDArray[np.uint8], grids: Grids) -> list[Region]:
    """Return the regions that lack the picture's grid, the least likely by chance first; `origin` is that grid."""
    if grids.main is None:
        return []
    kept = grids.counts[..., 8 * grids.main[1] + grids.main[0]]
    cast = grids.counts.sum(axis=2, dtype=np.int64)
    # Every rectangle of cells is a candidate.
    tests = 2 * math.log10(kept.size) - math.log10(4)
    regions = []
    candidates = sorted(components((kept <= LACKING) & (cast >= CAST)), key=len, reverse=True)
    for cells in candidates[:MOST_CANDIDATES]:
        (y0, x0), (y1, x1) = cells.min(axis=0).tolist(), (cells.max(axis=0) + 1).tolist()
        if len(cells) < SMALLEST or not _rest_keeps(kept, cast, (x0, y0, x1, y1)):
            continue
        box = (8 * x0, 8 * y0, 8 * x1, 8 * y1)
        if any(_overlap(box, region.box) for region in grids.regions):
            continue  # it is named for the grid of its own
        share = _missing_share(pixels, box, grids.main)
        samples = (y1 - y0) * (x1 - x0)
        log_nfa = tests + log_tail(samples, share * samples, 1 / 64)
        if share >= SMALLEST_MISSING and log_nfa < math.log10(LARGEST_NFA):
            regions.append(Region(box, grids.main, log_nfa, share))
    return sorted(regions, key=lambda region: region.log_nfa)


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    return all(max(first[axis], second[axis]) < min(first[axis + 2], second[axis + 2]) for axis in (0, 1))


def _rest_keeps(kept: NDArray[np.uint8], cast: NDArray[np.int64], cells: tuple[int, int, int, int]) -> bool:
    """True where the cells outside a box are enough, and nearly all of their votes are for the picture's grid."""
    x0, y0, x1, y1 = cells
    rest = np.ones(kept.shape, bool)
    rest[y0:y1, x0:x1] = False
    votes = int(cast[rest].sum())
    enough = min(float(rest.mean()), votes / (64 * max(int(rest.sum()), 1))) >= SMALLEST_REST
    return enough and int(kept[rest].sum(dtype=np.int64)) >= SMALLEST_KEPT * votes


def _missing_share(pixels: NDArray[np.uint8], box: tuple[int, int, int, int], main: tuple[int, int]) -> float:
    """The share of the pixels of a box that vote for the grid `main` (x, y) only after one more save on that grid."""
    from PIL import Image

    x0, y0, x1, y1 = box
    # The part begins where blocks of the grid do: in it, the grid has the origin (0, 0).
    left, top = (max(origin, at - MARGIN + origin) for at, origin in zip((x0, y0), main, strict=True))
    part = pixels[top : y1 + MARGIN, left : x1 + MARGIN]
    before = votes_of(part)
    stream = io.BytesIO()
    grey = np.rint(luminance(part)).astype(np.uint8)
    Image.fromarray(grey).save(stream, "JPEG", quality=QUALITY)
    after = votes_of(np.repeat(np.asarray(Image.open(stream))[..., None], 3, axis=2))
    missing = (after == 0) & (before != 0)
    inside = missing[max(0, y0 - top) : y1 - top, max(0, x0 - left) : x1 - left]
    return float(inside.mean()) if inside.size else 0.0
