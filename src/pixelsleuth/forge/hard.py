"""Ordinary pictures that detectors take for something else: thumbnails, night photographs, screenshots.

Training gives them to every class with the same chance, so that none of them says anything about the class.
"""

from __future__ import annotations

import cv2
import numpy as np

from pixelsleuth.data.equalise import jpeg
from pixelsleuth.forge.edits import Random


def thumbnail(pixels: np.ndarray, random: Random) -> np.ndarray:
    """The picture as a small preview blown up again: (H, W, 3) uint8, size kept."""
    scale, shape = random.uniform(0.4, 0.75), pixels.shape[1::-1]
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if random.random() < 0.6:
        small = jpeg(small, int(random.integers(60, 92)), bool(random.random() < 0.3))
    up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[random.integers(3)]
    return cv2.resize(small, shape, interpolation=up).astype(np.uint8)


def night(pixels: np.ndarray, random: Random) -> np.ndarray:
    """Little light: darkened, with shot and read noise, brightened and often smoothed as phones do."""
    light = random.uniform(0.12, 0.5)
    scene = (pixels.astype(np.float32) / 255) ** 1.6 * light
    noise = random.standard_normal(pixels.shape, dtype=np.float32)
    noisy = scene + noise * np.sqrt(scene * random.uniform(2e-4, 2e-3) + random.uniform(1e-6, 3e-5))
    developed = (noisy.clip(0, 1) * random.uniform(0.5, 0.95) / light) ** (1 / 1.6) * 255
    result = developed.clip(0, 255).astype(np.uint8)
    how = random.integers(3)
    if how == 0:
        result = cv2.bilateralFilter(result, 5, random.uniform(15, 45), 2)
    elif how == 1:
        result = cv2.GaussianBlur(result, (0, 0), random.uniform(0.5, 1.1))
    return result.astype(np.uint8)


def screenshot(pixels: np.ndarray, random: Random) -> np.ndarray:
    """The picture as a screen shows it: resampled, with a flat bar and a line of text above or below it."""
    scale, (height, width) = random.uniform(0.7, 0.97), pixels.shape[:2]
    shown = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    bar = int(height * random.uniform(0.05, 0.12)) + 1
    top = 0 if random.random() < 0.5 else height - bar
    shade = int(random.choice([20, 32, 240, 255]))
    shown[top : top + bar] = shade
    ink = 255 - shade
    size = bar / 40
    words = "".join(random.choice(list("abcdefghijklmnop 0123456789"), size=14))
    place = (int(random.uniform(0, width / 3)), top + int(bar * 0.7))
    return cv2.putText(
        shown, words, place, cv2.FONT_HERSHEY_SIMPLEX, size, (ink, ink, ink), 1, cv2.LINE_AA
    ).astype(np.uint8)


HARD = (thumbnail, night, screenshot)


def hard_case(pixels: np.ndarray, random: Random) -> np.ndarray:
    """One of HARD."""
    return HARD[random.integers(len(HARD))](pixels, random)
