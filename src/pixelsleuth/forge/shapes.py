"""Region shapes for forgeries: free blobs, polygons, ellipses, boxes, and object outlines scaled to fit."""

from __future__ import annotations

import cv2
import numpy as np

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
