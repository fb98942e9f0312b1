"""How often an earlier JPEG save is found, on pictures that are saved here: once, twice, on a shifted grid, as PNG.

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
from PIL import Image

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
    pairs(paths[::EVERY])


if __name__ == "__main__":
    main()
