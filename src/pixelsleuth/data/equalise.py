"""Equalise: every class gets the same resize, noise and compression, so that no class is known by its container.

`Equaliser.draw` makes one random draw for training; `EVALUATION` is the fixed draw that benchmarks use (one JPEG pass
at quality 90, 4:2:0, native size).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Draw:
    """What is done to one picture: scale factor, noise sigma (of 255), JPEG quality (None: lossless), 4:4:4 or
    4:2:0."""

    scale: float = 1.0
    interpolation: int = 1
    sigma: float = 0.0
    quality: int | None = 90
    full_chroma: bool = False


EVALUATION = Draw()


def draw(
    random: np.random.Generator, *, resize: float = 0.15, noise: float = 0.05, lossless: float = 0.15
) -> Draw:
    """One random draw; the arguments are the probabilities of a resize, of added noise and of no compression."""
    scale = float(np.exp(random.uniform(np.log(0.6), np.log(1.4)))) if random.random() < resize else 1.0
    sigma = float(random.uniform(1, 4)) if random.random() < noise else 0.0
    quality = None if random.random() < lossless else int(random.integers(65, 100))
    return Draw(scale, int(random.integers(1, 4)), sigma, quality, bool(random.random() < 0.4))


def equalise(
    pixels: np.ndarray, how: Draw = EVALUATION, random: np.random.Generator | None = None
) -> np.ndarray:
    """Apply `how` to (H, W, 3) uint8; the result has H and W times `how.scale`."""
    if how.scale != 1.0:
        method = cv2.INTER_AREA if how.scale < 0.7 else how.interpolation
        pixels = cv2.resize(pixels, None, fx=how.scale, fy=how.scale, interpolation=method)
    if how.sigma and random is not None:
        noise = random.standard_normal(pixels.shape, dtype=np.float32) * how.sigma
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    return pixels if how.quality is None else jpeg(pixels, how.quality, how.full_chroma)


def jpeg(pixels: np.ndarray, quality: int, full_chroma: bool) -> np.ndarray:
    """One JPEG round trip; 4:4:4 where `full_chroma`, else 4:2:0."""
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_chroma else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], options)
    decoded: np.ndarray = cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return np.ascontiguousarray(decoded[..., ::-1])
