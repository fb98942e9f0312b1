"""Regions whose noise differs from that of equally bright, equally even parts, with a bound on the false alarms.

A sensor and what a camera does after it leave noise that depends on how bright a surface is. A part that comes from
another picture, or was blurred or denoised, keeps its own. Noise shows only where the picture itself is even. So
blocks of 8 x 8 pixels are sorted by brightness; among equally bright ones those with the least energy in low
frequencies are kept; among these, equally even ones are compared by the deviation of their high frequencies. Were the
noise the same everywhere, the half with less of it would lie anywhere: a region that holds too much of one half is
stated.

Written from published descriptions of Noisesniffer: M. Gardella, P. Musé, J.-M. Morel and M. Colom, IWBF 2021; M.
Gardella, P. Musé, M. Colom and J.-M. Morel, Image Processing On Line 14, 2024. Other than there, blocks are compared
with equally even ones at the same place in the JPEG grid, because both change the high frequencies; a bounded number of
blocks is read, so that time and false alarms do not grow with the picture; noise that differs little is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.evidence.a_contrario import components, log_tail
from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.grid import cosines

BLOCK = 8
"""Side of a block in pixels: that of JPEG, so that a block meets the JPEG grid at one place only."""
FIRST_HIGH = 5
"""Coefficients (u, v) with u + v from here on are high frequencies, the rest but (0, 0) low ones."""
MOST_APART = 5_000
"""Blocks that are read at most where they do not overlap, four times as many where each pixel lies in four."""
BRIGHTNESSES = 8
"""Groups of equally bright blocks, equal in number."""
EVEN = 0.3
"""Share of the equally bright blocks that count as even: those with the least energy in low frequencies."""
NOISE_IN_LOW = 0.5
"""Share of the noise that is taken off the low frequencies, so that an even part is no less even for its noise. All of
it for white noise; cameras and JPEG leave less in high frequencies, and half separated training pictures best."""
ALIKE = 32
"""About as many blocks are compared with each other: equally bright, equally even, at one place in the JPEG grid."""
FEWEST = 4
"""Fewer blocks are not compared."""
LEAST_NOISE = 0.3
"""Grey levels: the deviation that rounding to whole levels leaves. Less is taken for as much."""
CELL = 2
"""Side of a cell in blocks that lie side by side; regions are grown and tested on cells."""
OWN_SHARE = 0.8
"""Share of the even blocks around a cell that must lie in the same half."""
SMALLEST = 4
"""Cells of a region."""
LARGEST = 0.5
"""Share of the picture that a region's box may fill: what fills more is the rest."""
LARGEST_NFA = 1e-6
"""Expected number of false alarms in a picture whose noise is the same everywhere, at most. The paper takes 1."""
SMALLEST_RATIO = 1.8
"""How many times more noise one part must have than the other."""
MOST_NOISE = 10.0
"""Grey levels: what has more, in the region or elsewhere, is texture."""
MOST_REGIONS = 3
SMALLEST_SIDE = 64
"""Pixels: nothing is said of narrower pictures."""
FALSE_ALARMS = 0.0027
"""Share of 1,829 authentic pictures on which it speaks, measured by `benchmarks/evidence.py`: five of them."""


@dataclass(frozen=True)
class Region:
    """A part with noise of its own.

    `box` (x0, y0, x1, y1) half open; log10 of its number of false alarms; the noise of its even blocks (standard
    deviation of the high frequencies, in grey levels, geometric mean over blocks and channels); how many times that of
    like blocks elsewhere it is: above 1 is more, below 1 less.
    """

    box: tuple[int, int, int, int]
    log_nfa: float
    noise: float
    ratio: float


@dataclass(frozen=True)
class Blocks:
    """Blocks on a lattice (rows, columns), `step` pixels from one to the next.

    `mean`, `low` (mean square of the low frequencies) and `noise` (root mean square of the high ones) are
    (3, rows, columns), in grey levels; `clipped` (rows, columns) is True where a pixel holds 0 or 255 in some channel.
    """

    step: int
    mean: NDArray[np.float32]
    low: NDArray[np.float32]
    noise: NDArray[np.float32]
    clipped: NDArray[np.bool_]

    @property
    def overlap(self) -> int:
        """How many blocks hold the same pixel."""
        return max(1, BLOCK // self.step) ** 2


@dataclass(frozen=True)
class Comparison:
    """What the blocks of each cell hold, summed over blocks and channels: (rows, columns) each, one entry a cell.

    `compared`: how many were compared; `lower` and `upper`: how many have less and more noise than the middle one of
    their like; `excess`: the logarithms of their noise less the mean one of their like; `noise`: these logarithms.
    """

    compared: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    excess: NDArray[np.float64]
    noise: NDArray[np.float64]


def noise_findings(pixels: NDArray[np.uint8]) -> list[Finding]:
    """Return the regions of an upright picture (H, W, 3) uint8 whose noise differs from that of like parts."""
    return [_finding(region) for region in noise_regions(pixels)]


def _finding(region: Region) -> Finding:
    more = region.ratio > 1
    times = region.ratio if more else 1 / region.ratio
    statement = (
        f"The even parts of a region carry about {times:.1f} times {'more' if more else 'less'} noise than equally "
        "bright and even parts elsewhere: it may come from another picture, or have been blurred, denoised or "
        "sharpened. Focus, motion and fine texture can look the same."
    )
    detail = {
        "log10_nfa": round(region.log_nfa, 1),
        "noise": round(region.noise, 2),
        "ratio": round(region.ratio, 2),
    }
    return Finding("noise", statement, "hints", FALSE_ALARMS, region.box, detail)


def noise_regions(pixels: NDArray[np.uint8]) -> list[Region]:
    """Return the regions of a picture (H, W, 3) uint8 with noise of their own, the least likely by chance first."""
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        return []
    blocks = read_blocks(pixels)
    candidates = _candidates(_compare(blocks), CELL * max(blocks.step, BLOCK), blocks.overlap)
    regions = [
        region
        for region in candidates
        if region.log_nfa < math.log10(LARGEST_NFA)
        and abs(math.log(region.ratio)) >= math.log(SMALLEST_RATIO)
        and max(region.noise, region.noise / region.ratio) <= MOST_NOISE
    ]
    return sorted(regions, key=lambda region: region.log_nfa)[:MOST_REGIONS]


# --- blocks ----------------------------------------------------------------------------------------------------------


def read_blocks(pixels: NDArray[np.uint8]) -> Blocks:
    """Return the sampled blocks of a picture (H, W, 3) uint8 of at least 8 x 8 pixels: at most about 20,000."""
    height, width = pixels.shape[:2]
    step, most = BLOCK // 2, 4 * MOST_APART
    while ((height - BLOCK) // step + 1) * ((width - BLOCK) // step + 1) > most:
        step, most = step // BLOCK * BLOCK + BLOCK, MOST_APART
    rows, columns = (height - BLOCK) // step + 1, (width - BLOCK) // step + 1
    low, high = _kernels()
    mean, energy, noise = (np.empty((3, rows, columns), np.float32) for _ in range(3))
    clipped = np.empty((rows, columns), bool)
    for row in range(rows):
        band = pixels[row * step : row * step + BLOCK]
        windows = np.lib.stride_tricks.sliding_window_view(band, BLOCK, axis=1)[
            :, ::step
        ]  # (8, columns, 3, 8)
        values = np.ascontiguousarray(windows.transpose(2, 1, 0, 3)).reshape(3, columns, BLOCK * BLOCK)
        clipped[row] = ((values == 0) | (values == 255)).any(axis=(0, 2))
        levels = values.astype(np.float32)
        mean[:, row] = levels.mean(axis=2)
        energy[:, row] = np.square(levels @ low).mean(axis=2)
        noise[:, row] = np.sqrt(np.square(levels @ high).mean(axis=2))
    return Blocks(step, mean, energy, noise, clipped)


def _kernels() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What turns the 64 pixels of a block into its low and its high frequencies, (64, n) each."""
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)).ravel()
    both = np.kron(cosines(), cosines())
    return both[(frequency > 0) & (frequency < FIRST_HIGH)].T, both[frequency >= FIRST_HIGH].T


def _compare(blocks: Blocks) -> Comparison:
    """Compare each even block with its like, channel by channel."""
    rows, columns = blocks.clipped.shape
    inside_y, inside_x = (np.arange(size) * blocks.step % BLOCK for size in (rows, columns))
    place = inside_y[:, None] * BLOCK + inside_x
    # Shuffled: many blocks are perfectly even, and which of them are compared must not depend on where they lie.
    order = np.random.default_rng(0).permutation(rows * columns)
    usable = ~blocks.clipped.ravel()[order]
    groups = [order[(place.ravel()[order] == value) & usable] for value in np.unique(place)]
    sums = np.zeros((5, rows * columns))
    for channel in range(3):
        noise = np.log(np.maximum(blocks.noise[channel].ravel(), LEAST_NOISE))
        uneven = np.maximum(blocks.low[channel] - NOISE_IN_LOW * np.square(blocks.noise[channel]), 0).ravel()
        for group in groups:
            for alike in _alike(group, blocks.mean[channel].ravel(), uneven):
                values = noise[alike]
                middle = np.median(values)
                sums[:, alike] += (
                    np.ones(len(alike)),
                    values < middle,
                    values > middle,
                    values - values.mean(),
                    values,
                )
    side = CELL * BLOCK // min(blocks.step, BLOCK)
    high, wide = rows // side, columns // side
    cells = sums.reshape(5, rows, columns)[:, : high * side, : wide * side]
    return Comparison(*cells.reshape(5, high, side, wide, side).sum(axis=(2, 4)))


def _alike(
    group: NDArray[np.int64], mean: NDArray[np.float32], uneven: NDArray[np.float32]
) -> Iterator[NDArray[np.int64]]:
    """Give the even blocks among a group of indices, in sets of equally bright and equally even ones.

    What is the same in brightness or evenness keeps the order of `group`.
    """
    for bright in np.array_split(group[np.argsort(mean[group], kind="stable")], BRIGHTNESSES):
        even = bright[np.argsort(uneven[bright], kind="stable")[: int(EVEN * len(bright))]]
        for alike in np.array_split(even, max(1, len(even) // ALIKE)):
            if len(alike) >= FEWEST:
                yield alike


# --- regions ---------------------------------------------------------------------------------------------------------


def _candidates(cells: Comparison, side: int, overlap: int) -> Iterator[Region]:
    """Give every connected region of cells, `side` pixels each, that lies mostly in one half, with its NFA and ratio.

    Blocks that share pixels, and the channels of a block, are alike: 3 * `overlap` of them count as one sample.
    """
    rows, columns = cells.compared.shape
    # Every rectangle of cells is a candidate, with either half.
    tests = math.log10(max(rows * (rows + 1) * columns * (columns + 1) / 2, 1))
    around = _around(cells.compared)
    for half in (cells.lower, cells.upper):
        for component in components((cells.compared > 0) & (_around(half) >= OWN_SHARE * around)):
            (y0, x0), (y1, x1) = component.min(axis=0), component.max(axis=0) + 1
            part = np.s_[y0:y1, x0:x1]
            inside = cells.compared[part].sum()
            outside = cells.compared.sum() - inside
            if len(component) < SMALLEST or (y1 - y0) * (x1 - x0) > LARGEST * rows * columns or outside < 1:
                continue
            samples, hits = (float(count) / (3 * overlap) for count in (inside, half[part].sum()))
            excess = cells.excess[part].sum()
            ratio = math.exp(excess / inside - (cells.excess.sum() - excess) / outside)
            box = (int(x0 * side), int(y0 * side), int(x1 * side), int(y1 * side))
            log_nfa = tests + log_tail(samples, hits, 0.5)
            yield Region(box, log_nfa, math.exp(cells.noise[part].sum() / inside), ratio)


def _around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over each cell and its eight neighbours."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, 1), (3, 3)).sum(axis=(2, 3))
