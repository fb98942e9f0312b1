"""Two dozen small pictures whose class can be seen, as a manifest."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

LABELS = ("real", "full_synthetic", "tampered")
DESCRIPTIONS = ("Light and shadow agree.", "Edges repeat.", "A patch was pasted.")


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 96 px: smooth noise; the same in few levels; the same with a red square and its mask."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for i in range(24):
        label, mask = i % 3, ""
        noise = random.integers(60, 190, (12, 12, 3), dtype=np.uint8)
        pixels = np.array(Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC))
        if label == 1:
            pixels = pixels // 64 * 64
        if label == 2:
            y, x = random.integers(4, 52, 2)
            truth = np.zeros((96, 96), np.uint8)
            truth[y : y + 40, x : x + 40] = 255
            pixels[truth > 0] = (250, 20, 30)
            mask = f"{i}-mask.png"
            Image.fromarray(truth).save(folder / mask)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append((f"{i}.png", LABELS[label], mask, f"g{i}", DESCRIPTIONS[label]))
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("path", "label", "mask", "group", "description"))
        writer.writerows(rows)
    return folder / "manifest.csv"
