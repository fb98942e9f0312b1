"""How often an earlier JPEG save is found, on pictures that are saved here: once, twice, on a shifted grid, as PNG.

Also how often the blocks of WebP and AVIF are taken for a JPEG grid, and how often a part without a grid is found.

    python benchmarks/resaves.py ../shared/corpus/manifest.csv --split train
    python benchmarks/resaves.py ../shared/corpus2/manifest.csv

The authentic pictures of a manifest are reduced to 70 % a side first: what earlier saves left is gone. False alarms are
counted on all of them at every quality, what is found on every tenth.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, features

from pixelsleuth.evidence.grid import grid_findings, grids_of
from pixelsleuth.evidence.missing_grid import missing_regions
from pixelsleuth.evidence.recompression import recompression_findings
from pixelsleuth.pictures.images import open_picture

QUALITIES = (60, 70, 75, 80, 85, 90, 95, 98)
SHARE = 0.7
EVERY = 10
NEAR = 2
"""An estimated quality that is at most this far off counts as right."""

Pixels = NDArray[np.uint8]


def reduced(path: Path) -> Pixels:
    with Image.open(path) as image:
        size = (round(SHARE * image.width), round(SHARE * image.height))
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def jpeg(pixels: Pixels, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def decoded(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def found(data: bytes) -> int | None:
    """The quality of the earlier save; None where none is found."""
    findings = recompression_findings(open_picture(data))
    return int(findings[0].detail["first_quality"]) if findings else None


def false_alarms(paths: list[Path]) -> None:
    """Print how often something is found that is not there."""
    tally: Counter[str] = Counter()
    for path in paths:
        pixels = reduced(path)
        for quality in QUALITIES:
            tally[f"JPEG, saved once at {quality}"] += found(jpeg(pixels, quality)) is not None
        shifted = decoded(jpeg(pixels, 80))[3:, 5:]
        tally["JPEG at 80, cropped off its grid, saved at 90"] += found(jpeg(shifted, 90)) is not None
        tally["PNG, never a JPEG"] += found(png(pixels)) is not None
    print(f"| {len(paths)} authentic pictures | speaks on |\n|---|---:|")
    for name in [f"JPEG, saved once at {quality}" for quality in QUALITIES]:
        print(f"| {name} | {tally[name]} |")
    for name in ("JPEG at 80, cropped off its grid, saved at 90", "PNG, never a JPEG"):
        print(f"| {name} | {tally[name]} |")
    print()


def other_formats(paths: list[Path]) -> None:
    """Print on how many pictures in other lossy formats a JPEG grid is told of."""
    print(f"| {len(paths)} authentic pictures | grid or crop speaks on |\n|---|---:|")
    for kind, quality in (("WEBP", 50), ("WEBP", 75), ("WEBP", 90), ("AVIF", 50), ("AVIF", 75)):
        if features.check(kind.lower()):
            speaks = 0
            for path in paths:
                stream = io.BytesIO()
                Image.fromarray(reduced(path)).save(stream, kind, quality=quality)
                speaks += bool(grid_findings(open_picture(stream.getvalue()).pixels))
            print(f"| {kind} at {quality} | {speaks} |")
    print()


def holes(paths: list[Path]) -> None:
    """Print how often the middle of a JPEG is found that was pasted or blurred after the save, by the last save."""
    lasts = (0, 98, 95, 90)
    print(
        f"| of {len(paths)} JPEGs at 85, the middle then | {' | '.join(f'saved at {q}' for q in lasts)} (0: PNG) |"
    )
    print(f"|---|{'---:|' * len(lasts)}")
    for change in ("pasted from no JPEG", "blurred"):
        found_at = []
        for last in lasts:
            spoke = 0
            for path, other in zip(paths, paths[1:] + paths[:1], strict=True):
                picture = Image.fromarray(decoded(jpeg(reduced(path), 85)))
                width, height = picture.size
                box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
                middle = Image.fromarray(reduced(other)) if change != "blurred" else None
                middle = middle or picture.filter(ImageFilter.GaussianBlur(2)).crop(box)
                picture.paste(middle.resize((box[2] - box[0], box[3] - box[1])), box)
                pixels = np.asarray(picture)
                pixels = decoded(jpeg(pixels, last)) if last else pixels
                spoke += bool(missing_regions(pixels, grids_of(pixels)))
            found_at.append(f"{100 * spoke / len(paths):.0f} %")
        print(f"| {change} | {' | '.join(found_at)} |")
    print()


def pairs(paths: list[Path]) -> None:
    """Print how often the first save is found, and its quality right, by the qualities of both saves."""
    print(f"| first save (of {len(paths)}) | {' | '.join(f'then {q}' for q in QUALITIES)} | then PNG |")
    print(f"|---|{'---:|' * (len(QUALITIES) + 1)}")
    for first in QUALITIES:
        answers: dict[int, list[int | None]] = {last: [] for last in (*QUALITIES, 0)}
        for path in paths:
            pixels = decoded(jpeg(reduced(path), first))
            for last in answers:
                answers[last].append(found(jpeg(pixels, last) if last else png(pixels)))
        cells = []
        for qualities in answers.values():
            spoke = [quality for quality in qualities if quality is not None]
            right = sum(abs(quality - first) <= NEAR for quality in spoke)
            cells.append(f"{100 * len(spoke) / len(paths):.0f} % ({right} of {len(spoke)})")
        print(f"| {first} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", help="Only this split of the manifest.")
    arguments = parser.parse_args()
    with arguments.manifest.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if arguments.split in (None, row["split"])]
    paths = [arguments.manifest.parent / row["path"] for row in rows if row["label"] == "real"]
    false_alarms(paths)
    other_formats(paths[::EVERY])
    holes(paths[::EVERY])
    pairs(paths[::EVERY])


if __name__ == "__main__":
    main()
