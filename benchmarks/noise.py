"""How often the finding `noise` speaks on pictures whose noise was changed for the test, and where.

    python benchmarks/noise.py ../shared/corpus/manifest.csv --split eval

The corpora hold splices and copy-moves, but nothing that was blurred or denoised in a part. So each authentic picture
gets an ellipse, 30 to 55 % of each side, at a place drawn by `--seed`, in which the noise differs; the picture is then
saved as PNG and as JPEG of quality 90. Prints a Markdown table; IoU as in `benchmarks/evidence.py`.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from evidence import line
from pixelsleuth.evidence.noise import noise_regions
from pixelsleuth.pictures.images import open_picture

SMALLEST_SIDE = 240
"""Pixels: an ellipse in a smaller picture holds too few blocks."""


def changed(image: Image.Image, rng: np.random.Generator) -> dict[str, tuple[Image.Image, Image.Image]]:
    """The pairs (around the ellipse, inside it) by what was done."""
    values = np.asarray(image).astype(np.float64)

    def noisy(deviation: float) -> Image.Image:
        return Image.fromarray(
            np.clip(values + rng.normal(0, deviation, values.shape), 0, 255).round().astype(np.uint8)
        )

    grain = noisy(4)
    return {
        "nothing": (image, image),
        "the part is blurred (Gaussian, 1.2 pixels)": (image, image.filter(ImageFilter.GaussianBlur(1.2))),
        "noise (deviation 4), in the part a median of 3 x 3 against it": (
            grain,
            grain.filter(ImageFilter.MedianFilter(3)),
        ),
        "noise (deviation 3) around the part": (noisy(3), image),
        "noise (deviation 5) in the part": (image, noisy(5)),
    }


def saved(image: Image.Image, form: str) -> NDArray[np.uint8]:
    """The pixels after the picture was saved as `PNG` or `JPEG`."""
    if form == "PNG":
        return np.asarray(image)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return np.asarray(Image.open(stream).convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", help="Only this split of the manifest.")
    parser.add_argument("--seed", type=int, default=0, help="Of the places and the noise.")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with arguments.manifest.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if arguments.split in (None, row["split"])]
    overlaps: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for row in rows:
        if row["label"] != "real" or min(int(row["width"]), int(row["height"])) < SMALLEST_SIDE:
            continue
        image = Image.fromarray(open_picture(str(arguments.manifest.parent / row["path"])).pixels)
        width, height = (int(side * rng.uniform(0.3, 0.55)) for side in image.size)
        x, y = (
            int(rng.integers(0, side - part)) for side, part in zip(image.size, (width, height), strict=True)
        )
        mask = Image.new("L", image.size)
        ImageDraw.Draw(mask).ellipse((x, y, x + width, y + height), fill=255)
        for name, (around, inside) in changed(image, rng).items():
            for form in ("PNG", "JPEG"):
                regions = noise_regions(saved(Image.composite(inside, around, mask), form))
                boxes = [region.box for region in regions]
                overlaps[name, form].append(overlap(boxes, np.asarray(mask) > 127) if boxes else None)
    print(line(["what was done", "saved as", "pictures", "`noise` speaks on", "IoU"]))
    print(line(["---", "---", "---:", "---:", "---:"]))
    for (name, form), values in overlaps.items():
        hits = [value for value in values if value is not None]
        share = f"{len(hits)} ({100 * len(hits) / len(values):.1f} %)"
        print(line([name, form, len(values), share, f"{np.mean(hits):.2f}" if hits else ""]))


def overlap(boxes: list[tuple[int, int, int, int]], mask: NDArray[np.bool_]) -> float:
    """IoU of boxes with the mask, or with what it leaves, the larger of the two."""
    covered = np.zeros(mask.shape, bool)
    for x0, y0, x1, y1 in boxes:
        covered[y0:y1, x0:x1] = True
    return float(max((covered & part).sum() / (covered | part).sum() for part in (mask, ~mask)))


if __name__ == "__main__":
    main()
