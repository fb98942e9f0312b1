"""How often each finding of `inspect` speaks: on authentic pictures (false alarms) and on tampered ones, by source.

    python benchmarks/evidence.py ../shared/corpus/manifest.csv --split eval --out DIR
    python benchmarks/evidence.py ../shared/corpus2/manifest.csv --out DIR
    python benchmarks/evidence.py ../shared/corpus2/manifest.csv --out DIR --thumbnails
    python benchmarks/evidence.py ../shared/corpus/manifest.csv --out DIR --times

Prints Markdown tables and writes a line a picture to DIR/MANIFEST_FOLDER.jsonl; a second run goes on where the first
stopped. IoU: boxes of a finding against the mask; or against the rest of the picture where that fits better, because a
grid that differs does not say which of the two parts is the foreign one. Of a copy one part's box, the other's, or both
count, whichever fits best: some masks mark the copy alone. `--thumbnails`: the pictures of the corpora
carry none, so they are made from the authentic ones (reduced, with bars, cut) and compared with the picture, with it
turned, cropped, made darker, and with another. `--times`: the time of each part of an inspection at two megapixels, on
a photograph that is enlarged to them.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pixelsleuth.evidence.enhancers import NAMES, enhanced
from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.inspection import EXAMINATIONS, findings_of, pixel_findings, shown_by
from pixelsleuth.evidence.recompression import recompression_findings
from pixelsleuth.evidence.thumbnail import thumbnail_findings
from pixelsleuth.pictures.files import read_file
from pixelsleuth.pictures.formats import read_header
from pixelsleuth.pictures.images import open_picture

Record = dict[str, Any]
TWO_MEGAPIXELS = (1632, 1224)


def measured(folder: Path, row: dict[str, str]) -> Record:
    """What one picture of a manifest says: its findings by kind, seconds for bytes and pixels, IoU of each kind."""
    path = str(folder / row["path"])
    data = read_file(path, path)
    begin = time.perf_counter()
    findings = findings_of(memoryview(data), read_header(memoryview(data), path))
    seconds_bytes = time.perf_counter() - begin
    picture = open_picture(path)
    pixels = picture.pixels
    begin = time.perf_counter()
    findings += shown_by(picture)
    seconds_pixels = time.perf_counter() - begin
    overlap = overlaps(findings, folder / row["mask"], pixels.shape[:2]) if row["mask"] else {}
    return {
        "path": row["path"],
        "label": row["label"],
        "source": row["source"],
        "tamper": row["tamper"].partition(" (")[0],
        "megapixels": pixels.shape[0] * pixels.shape[1] / 1e6,
        "kinds": sorted({finding.kind for finding in findings}),
        "iou": overlap,
        "seconds_bytes": seconds_bytes,
        "seconds_pixels": seconds_pixels,
    }


def overlaps(findings: list[Finding], mask: Path, size: tuple[int, int]) -> dict[str, float]:
    """The overlap of each kind's boxes with the mask. Of a copy: the first parts, the second ones, or both, whatever
    fits best, for some masks mark the copy alone, others the source, too."""
    boxes: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    parts: list[list[tuple[int, int, int, int]]] = [[], [], []]
    for finding in findings:
        boxes[finding.kind] += [finding.region] if finding.region else []
        if finding.kind == "copy_move":
            for some, box in zip(parts, finding.detail["boxes"], strict=False):
                some.append(box)
                parts[2].append(box)
    measured = {kind: iou(boxes[kind], mask, size) for kind in boxes}
    if any(parts):
        measured["copy_move"] = max(filter(None, (iou(some, mask, size) for some in parts)), default=0.0)
    return {kind: value for kind, value in measured.items() if value is not None}


def iou(boxes: list[tuple[int, int, int, int]], mask: Path, size: tuple[int, int]) -> float | None:
    """The overlap of boxes with a mask, or with what it leaves, the larger of the two; None without boxes."""
    if not boxes:
        return None
    with Image.open(mask) as image:
        tampered = np.asarray(image.convert("L").resize(size[::-1], Image.Resampling.NEAREST)) > 127
    covered = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        covered[y0:y1, x0:x1] = True
    return float(
        max((covered & part).sum() / max((covered | part).sum(), 1) for part in (tampered, ~tampered))
    )


def run(manifest: Path, split: str | None, out: Path) -> list[Record]:
    """Measure the real and tampered pictures of a manifest; those that DIR holds already are not measured again."""
    with manifest.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if split in (None, row["split"])]
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{manifest.parent.name}.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    records = {record["path"]: record for record in map(json.loads, lines)}
    with path.open("a", encoding="utf-8") as stream:
        for row in rows:
            if row["label"] != "full_synthetic" and row["path"] not in records:
                records[row["path"]] = measured(manifest.parent, row)
                stream.write(json.dumps(records[row["path"]]) + "\n")
                stream.flush()
    return list(records.values())


def thumbnails(folder: Path, rows: list[dict[str, str]]) -> None:
    """Print how often the thumbnail of an authentic picture speaks, by what happened to the picture since."""
    tally: dict[str, list[bool]] = defaultdict(list)
    previous = None
    for row in rows:
        pixels = open_picture(str(folder / row["path"])).pixels
        image = Image.fromarray(pixels)
        height, width = pixels.shape[:2]
        plain = image.copy()
        plain.thumbnail((160, 160))
        darker = (255 * (pixels / 255) ** 1.6).astype(np.uint8)
        cases = {
            "nothing": [(plain, pixels), (ImageOps.pad(image, (160, 120)), pixels)],
            "nothing, thumbnail cut": [(ImageOps.fit(image, (160, 120)), pixels)],
            "made darker": [(plain, darker)],
            "turned by 180 degrees": [(plain, np.ascontiguousarray(pixels[::-1, ::-1]))],
            "cropped to 80 % of each side": [(plain, pixels[height // 5 :, width // 5 :])],
            "cropped to 50 % of each side": [
                (plain, pixels[height // 4 : -(height // 4), width // 4 : -(width // 4)])
            ],
            "replaced by another": [(previous, pixels)] if previous is not None else [],
        }
        for name, pairs in cases.items():
            tally[name] += [bool(thumbnail_findings(exif_with(small), 1, now)) for small, now in pairs]
        previous = plain
    print(line(["since the thumbnail the picture was", "pictures", "speaks on"]))
    print(line(["---", "---:", "---:"]))
    for name, spoke in tally.items():
        print(line([name, len(spoke), f"{sum(spoke)} ({100 * sum(spoke) / len(spoke):.1f} %)"]))


def times(path: Path) -> None:
    """Print the seconds of each part of an inspection of a photograph of two megapixels, the least of three."""
    with Image.open(path) as image:
        large = image.convert("RGB").resize(TWO_MEGAPIXELS, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    large.save(stream, "JPEG", quality=90)
    data = stream.getvalue()
    picture = open_picture(data)
    parts: dict[str, Callable[[], object]] = {
        "header and bytes": lambda: findings_of(memoryview(data), read_header(memoryview(data), "a")),
        "decoding": lambda: open_picture(data),
        "earlier saves": lambda: recompression_findings(picture),
        **{
            function.__name__: lambda function=function: function(picture.pixels)  # type: ignore[misc]
            for function in EXAMINATIONS
        },
        "all pixel findings": lambda: pixel_findings(picture.pixels),
        **{f"to look at: {name}": lambda name=name: enhanced(picture.pixels, [name]) for name in NAMES},  # type: ignore[misc]
    }
    print(line(["part", "seconds", "processor seconds"]))
    print(line(["---", "---:", "---:"]))
    for name, part in parts.items():
        taken = []
        for _ in range(3):
            begin, busy = time.perf_counter(), time.process_time()
            part()
            taken.append((time.perf_counter() - begin, time.process_time() - busy))
        print(line([name, *(f"{min(column):.3f}" for column in zip(*taken, strict=True))]))


def exif_with(thumbnail: Image.Image) -> bytes:
    """An EXIF block that holds nothing but a thumbnail."""
    stream = io.BytesIO()
    thumbnail.save(stream, "JPEG", quality=70)
    content = stream.getvalue()
    entries = struct.pack("<HHIIHHII", 0x0201, 4, 1, 44, 0x0202, 4, 1, len(content))
    return b"II*\0" + struct.pack("<IHIH", 8, 0, 14, 2) + entries + bytes(4) + content


def line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def table(records: list[Record], label: str) -> None:
    """Print for each source of a label how many pictures each finding speaks on."""
    records = [record for record in records if record["label"] == label]
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[" ".join((record["source"], record["tamper"])).strip()].append(record)
    groups["all"] = records
    kinds = sorted({kind for record in records for kind in record["kinds"]} - {"metadata", "compression"})
    placed = [kind for kind in kinds if any(kind in record["iou"] for record in records)]
    print(line([label, "pictures", *kinds, *(f"IoU of {kind}" for kind in placed)]))
    print(line(["---", *["---:"] * (1 + len(kinds) + len(placed))]))
    for name, group in sorted(groups.items(), key=lambda item: (item[0] == "all", item[0])):
        counts = [sum(kind in record["kinds"] for record in group) for kind in kinds]
        cells = [f"{count} ({100 * count / len(group):.1f} %)" for count in counts]
        for kind in placed:
            values = [record["iou"][kind] for record in group if kind in record["iou"]]
            cells.append(f"{np.mean(values):.2f}" if values else "")
        print(line([name, len(group), *cells]))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", help="Only this split of the manifest.")
    parser.add_argument("--out", type=Path, required=True, help="Folder of the records.")
    parser.add_argument(
        "--thumbnails", action="store_true", help="Measure thumbnails made for the test instead."
    )
    parser.add_argument("--times", action="store_true", help="Measure the time at two megapixels instead.")
    arguments = parser.parse_args()
    if arguments.thumbnails or arguments.times:
        with arguments.manifest.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if arguments.split in (None, row["split"])]
        rows = [row for row in rows if row["label"] == "real"]
        if arguments.times:
            times(arguments.manifest.parent / rows[0]["path"])
        else:
            thumbnails(arguments.manifest.parent, rows)
        return
    records = run(arguments.manifest, arguments.split, arguments.out)
    for label in ("real", "tampered"):
        table(records, label)
    megapixels = sum(record["megapixels"] for record in records)
    for part in ("bytes", "pixels"):
        seconds = sum(record[f"seconds_{part}"] for record in records)
        print(
            f"{part}: {1e3 * seconds / len(records):.1f} ms a picture, {seconds / megapixels:.3f} s a megapixel"
        )


if __name__ == "__main__":
    main()
