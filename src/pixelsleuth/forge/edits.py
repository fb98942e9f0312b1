"""Local forgeries (splice, copy-move, removal, local edit, text, generative edit) and the shapes of their regions.

Pictures are (H, W, 3) uint8; masks are (H, W) uint8, 255 where the picture was changed. Each operation returns a
`Forgery`: pixels, mask, the name of the operation, and the traces that it leaves by construction, so that explanations
written from them are true.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from pixelsleuth.data.equalise import jpeg

Random = np.random.Generator


def free_shape(height: int, width: int, random: Random) -> np.ndarray:
    """A random filled shape on an empty canvas, (H, W) uint8 0/255, covering about 2 to 30 % of it."""
    mask = np.zeros((height, width), np.uint8)
    size = np.sqrt(height * width * np.exp(random.uniform(np.log(0.02), np.log(0.3))))
    stretch = np.exp(random.uniform(-0.5, 0.5))
    across, down = min(size * stretch, width * 0.8) / 2, min(size / stretch, height * 0.8) / 2
    x, y = random.uniform(across, width - across), random.uniform(down, height - down)
    kind = random.random()
    if kind < 0.15:
        cv2.rectangle(mask, (int(x - across), int(y - down)), (int(x + across), int(y + down)), 255, -1)
    elif kind < 0.3:
        cv2.ellipse(mask, (int(x), int(y)), (int(across), int(down)), random.uniform(0, 180), 0, 360, 255, -1)
    else:
        points = random.integers(5, 14)
        angles = np.sort(random.uniform(0, 2 * np.pi, points))
        radius = random.uniform(0.5, 1.25, points)
        outline = np.stack([x + across * radius * np.cos(angles), y + down * radius * np.sin(angles)], 1)
        cv2.fillPoly(mask, [outline.round().astype(np.int32)], 255)
        if kind > 0.55:  # round the corners: a blob
            blur = int(min(across, down) / 2) * 2 + 1
            mask = ((cv2.GaussianBlur(mask, (blur, blur), 0) > 127) * np.uint8(255)).astype(np.uint8)
    return mask


def outline_shape(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """A polygon (N, 2) in pixels drawn on an empty (H, W) canvas, uint8 0/255."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [polygon.round().astype(np.int32)], 255)
    return mask


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Half-open box x0, y0, x1, y1 of the pixels above 0, or None where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


INTERPOLATIONS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_AREA)


@dataclass
class Forgery:
    """A forged picture. `traces`: keys of `compact.grammar.TRACES` that hold by construction, strongest first."""

    pixels: np.ndarray
    mask: np.ndarray
    operation: str
    traces: list[str] = field(default_factory=list)


def blend(
    base: np.ndarray, patch: np.ndarray, mask: np.ndarray, random: Random, *, soft: float = 0.5
) -> np.ndarray:
    """Paste `patch` where `mask` is set; with probability `soft` the border is feathered by 0.6 to 3 px."""
    if random.random() < soft:
        return _feathered(base, patch, mask, random.uniform(0.6, 3.0))
    return np.where(mask[..., None] > 127, patch, base)


def _feathered(base: np.ndarray, patch: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    weight = cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32)[..., None] / 255
    return (base * (1 - weight) + patch * weight + 0.5).astype(np.uint8)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8)


def warp(
    pixels: np.ndarray, mask: np.ndarray, shape: tuple[int, int], random: Random, *, resample: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Move a region of `pixels` to a random place of a (H, W) canvas, resampled with probability `resample`.

    Returns (patch, mask, resampled) on the canvas; the mask is empty where the region fell outside.
    """
    height, width = shape
    box = bounding_box(mask)
    if box is None:
        return np.zeros((height, width, 3), np.uint8), np.zeros(shape, np.uint8), False
    resampled = bool(random.random() < resample)
    limit = min(0.85 * width / (box[2] - box[0]), 0.85 * height / (box[3] - box[1]))
    scale = min(np.exp(random.uniform(-0.5, 0.5)) if resampled else 1.0, limit)
    resampled = resampled or scale != 1.0
    angle = random.normal(0, 15) if resampled and random.random() < 0.5 else 0.0
    flip = -1 if resampled and random.random() < 0.25 else 1
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    matrix = np.array([[cos * flip, -sin, 0.0], [sin * flip, cos, 0.0]])
    half_x, half_y = (box[2] - box[0]) / 2 * scale, (box[3] - box[1]) / 2 * scale
    target = [random.uniform(min(half_x, width / 2), max(width - half_x, width / 2)),
              random.uniform(min(half_y, height / 2), max(height - half_y, height / 2))]  # fmt: skip
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    matrix[:, 2] = target - matrix[:, :2] @ centre
    if not resampled:
        matrix[:, 2] = matrix[:, 2].round()
    how = INTERPOLATIONS[random.integers(3)] if resampled else cv2.INTER_NEAREST
    patch = cv2.warpAffine(pixels, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REFLECT)
    moved = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_NEAREST)
    return patch, moved, resampled


def recolour(pixels: np.ndarray, random: Random) -> np.ndarray:
    """Brightness, contrast and colour balance drawn at random."""
    gain = random.uniform(0.75, 1.3) * random.uniform(0.93, 1.07, 3)
    return _eight_bits(pixels * gain + random.uniform(-20, 20))


def splice(
    base: np.ndarray, donor: np.ndarray, donor_mask: np.ndarray, random: Random, *, synthetic: bool = False
) -> Forgery:
    """Paste a region of another picture."""
    patch, mask, resampled = warp(donor, donor_mask, base.shape[:2], random, resample=0.6)
    if random.random() < 0.35:
        patch = recolour(patch, random)
    traces = ["generator"] if synthetic else []
    traces += ["resampled"] if resampled else []
    return Forgery(blend(base, patch, mask, random), mask, "splice", [*traces, "noise"])


def copy_move(base: np.ndarray, mask: np.ndarray, random: Random) -> Forgery:
    """Paste a region of the same picture elsewhere; the mask marks the copy alone."""
    patch, moved, resampled = warp(base, mask, base.shape[:2], random, resample=0.4)
    if random.random() < 0.1:
        patch = recolour(patch, random)
    traces = ["repeated", "resampled"] if resampled else ["repeated"]
    return Forgery(blend(base, patch, moved, random), moved, "copy-move", traces)


def removal(base: np.ndarray, mask: np.ndarray, random: Random) -> Forgery:
    """Fill a region from its surroundings: diffusion inpainting, or a patch of the neighbourhood blended in."""
    if random.random() < 0.5:
        how = cv2.INPAINT_TELEA if random.random() < 0.5 else cv2.INPAINT_NS
        filled = cv2.inpaint(base, mask, 3, how)
        if random.random() < 0.4:  # hide the smoothness as a forger would
            filled = _eight_bits(filled + random.normal(0, random.uniform(1, 4), base.shape))
        return Forgery(np.where(mask[..., None] > 127, filled, base), mask, "removal", ["smooth"])
    box = bounding_box(mask)
    shift = (box[2] - box[0] if box else 8) * random.choice([-1, 1])
    matrix = np.array([[1.0, 0, shift], [0, 1, random.integers(-4, 5)]])
    size = base.shape[1::-1]
    patch = cv2.warpAffine(base, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    filled = _feathered(base, patch, mask, random.uniform(1.5, 5.0))
    return Forgery(filled, mask, "removal", ["repeated", "smooth"])


def local_edit(base: np.ndarray, mask: np.ndarray, random: Random) -> Forgery:
    """Change a region in place: blur, noise, sharpening, recompression, smoothing as beauty filters do, or resampling.

    Four in ten also change colour.
    """
    kind = random.integers(6)
    if kind == 0:
        edited, trace = cv2.GaussianBlur(base, (0, 0), random.uniform(0.6, 2.5)), "smooth"
    elif kind == 1:
        edited, trace = _eight_bits(base + random.normal(0, random.uniform(2, 10), base.shape)), "noise"
    elif kind == 2:
        soft = cv2.GaussianBlur(base, (0, 0), 1.0).astype(np.float32)
        edited, trace = _eight_bits(base + random.uniform(0.5, 1.5) * (base - soft)), "sharpened"
    elif kind == 3:
        edited, trace = jpeg(base, int(random.integers(35, 80)), bool(random.integers(2))), "recompressed"
    elif kind == 4:
        smoothed = cv2.bilateralFilter(base, 9, random.uniform(20, 60), random.uniform(2, 5))
        edited, trace = np.asarray(smoothed, dtype=np.uint8), "smooth"
    else:
        scale, shape = random.uniform(0.5, 0.9), base.shape[1::-1]
        small = cv2.resize(base, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        how = INTERPOLATIONS[random.integers(3)]
        edited, trace = cv2.resize(small, shape, interpolation=how), "resampled"
    if random.random() < 0.4:
        edited = recolour(edited, random)
    return Forgery(blend(base, edited, mask, random), mask, "local edit", [trace])


FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
)
LETTERS = tuple("ABCDEFGHIKLMNOPRSTUVabcdefghiklmnoprstuv0123456789")


def text(base: np.ndarray, random: Random) -> Forgery:
    """Write a word over the picture, often on a plate of plain colour; the mask covers the plate, or the word's box."""
    height, width = base.shape[:2]
    word = "".join(random.choice(LETTERS, size=int(random.integers(3, 9))))
    font, size = FONTS[random.integers(len(FONTS))], random.uniform(0.5, 1.6) * width / 256
    thick = max(1, int(size * random.uniform(1, 2.5)))
    (across, down), below = cv2.getTextSize(word, font, size, thick)
    x, y = random.integers(0, max(1, width - across)), random.integers(down, max(down + 1, height - below))
    box = (slice(max(0, y - down - 2), y + below + 2), slice(max(0, x - 2), x + across + 2))
    edited, mask = base.copy(), np.zeros((height, width), np.uint8)
    mask[box] = 255
    if random.random() < 0.5:
        edited[box] = random.integers(0, 256, 3)
    ink = [int(value) for value in random.integers(0, 256, 3)]
    edited = cv2.putText(edited, word, (int(x), int(y)), font, size, ink, thick, cv2.LINE_AA)
    return Forgery(np.asarray(edited, dtype=np.uint8), mask, "splice", ["noise"])


def generative_edit(base: np.ndarray, regenerated: np.ndarray, mask: np.ndarray, random: Random) -> Forgery:
    """Replace a region by its own passage through a generator's autoencoder (arXiv 2412.17671)."""
    return Forgery(blend(base, regenerated, mask, random), mask, "generative edit", ["generator"])


def shape_in(pixels: np.ndarray, random: Random) -> np.ndarray:
    """A free shape on the canvas of `pixels`."""
    return free_shape(pixels.shape[0], pixels.shape[1], random)
