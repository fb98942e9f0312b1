"""Accuracy of the compact detector on the evaluation corpus: per source and overall, equalised and as the files are.

Every picture is decoded and given the same JPEG pass (quality 90, 4:2:0, native size) before it is judged;
`--raw` judges the files' own pixels. Pixel figures are means over tampered pictures, threshold 0.5, whatever class was
predicted.

Run: `python benchmarks/accuracy.py --manifest ../shared/corpus/manifest.csv [--folder EXPORTED] [--raw]
[--json OUT.json]`
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.compact.detector import CompactDetector, _upsample
from pixelsleuth.data.cache import parts_of
from pixelsleuth.data.equalise import equalise
from pixelsleuth.data.left_out import LeftOut
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import LABELS, Sample
from pixelsleuth.evaluation.metrics import detection, localization

PARTS = Path(__file__).parents[1] / "recipes" / "compact" / "parts.json"
Row = dict[str, Any]


def judge(detector: CompactDetector, sample: Sample, *, raw: bool) -> Row:
    """Probabilities of the three classes, and pixel figures where the picture is tampered."""
    picture, truth = sample.load()
    pixels = picture.pixels if raw else np.ascontiguousarray(equalise(picture.pixels))
    classes, logits = detector.read(*detector.encode(pixels))
    chance = _upsample(detector._mask_probability(logits, pixels.shape[:2]), pixels.shape[1], pixels.shape[0])
    row: Row = {
        "source": sample.source,
        "label": LABELS.index(sample.label),
        "tamper": sample.tamper.split(" (")[0],
    }
    row |= {
        "probabilities": detector.probabilities(classes),
        "alarm": (chance >= 128).mean(),
    }
    row["generator"] = sample.generator
    if truth is not None:
        row |= pixel_scores(chance, truth.pixels)
    return row


def pixel_scores(chance: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """F1 and IoU at 0.5, pixel AUROC of one picture (ties at half weight), and F1 at the picture's best threshold; 0
    where a figure is not defined.
    """
    figures = localization.picture_figures(localization.histograms(chance, truth), localization.Empty.ZERO)
    return {name: float(np.nan_to_num(figures[name])) for name in ("f1", "iou", "auc", "best_f1")}


def auroc(rows: list[Row], positive: int) -> float:
    """AUROC of class `positive` against real, by its probability relative to real's."""
    kept = [r for r in rows if r["label"] in (0, positive)]
    if not kept:
        return float("nan")
    scores = detection.relative_score(np.array([r["probabilities"] for r in kept]), positive)
    return float(detection.auroc([r["label"] == positive for r in kept], scores))


def summarise(rows: list[Row]) -> dict[str, Any]:
    """Every figure of a set of rows, and the same by source."""
    truth = [r["label"] for r in rows]
    predicted = [int(np.argmax(r["probabilities"])) for r in rows]
    tampered = [r for r in rows if "f1" in r]
    authentic = [r for r in rows if r["label"] != 2]
    matrix = detection.confusion_matrix(truth, predicted, len(LABELS))
    figures: dict[str, Any] = {
        "pictures": len(rows),
        "accuracy": detection.accuracy(matrix),
        "balanced_accuracy": detection.balanced_accuracy(matrix) if len(set(truth)) > 1 else None,
        "auroc_synthetic": auroc(rows, 1),
        "auroc_tampered": auroc(rows, 2),
        "false_alarm_area": float(np.mean([r["alarm"] for r in authentic])) if authentic else None,
    }
    for name in ("f1", "iou", "auc", "best_f1"):
        figures[f"pixel_{name}"] = float(np.mean([r[name] for r in tampered])) if tampered else None
    return figures


def table(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Overall, by source, and the figures that the project set itself as goals."""
    by: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by[row["source"]].append(row)
        if row["tamper"]:
            by[f"{row['source']} {row['tamper']}"].append(row)
    result = {"overall": summarise(rows)}
    return result | {name: summarise(by[name]) for name in sorted(by)}


def faces_accuracy(rows: list[Row]) -> float:
    """Accuracy of real against synthetic on the content-matched faces, deciding between these two classes."""
    faces = [r for r in rows if r["source"] == "faces"]
    return (
        float(np.mean([(r["probabilities"][1] > r["probabilities"][0]) == (r["label"] == 1) for r in faces]))
        if faces
        else float("nan")
    )


def print_table(title: str, figures: dict[str, dict[str, Any]]) -> None:
    columns = (
        "pictures",
        "accuracy",
        "balanced_accuracy",
        "auroc_synthetic",
        "auroc_tampered",
        "pixel_f1",
        "pixel_iou",
        "pixel_auc",
        "pixel_best_f1",
        "false_alarm_area",
    )
    heads = (
        "n",
        "acc",
        "bal. acc",
        "AUROC synth.",
        "AUROC tamp.",
        "F1",
        "IoU",
        "pixel AUC",
        "F1 best thr.",
        "false area",
    )
    print(f"\n### {title}\n\n| source | " + " | ".join(heads) + " |\n|---|" + "---:|" * len(heads))
    for name, row in figures.items():
        cells = [row[c] for c in columns]
        shown = ["" if v is None or v != v else str(v) if isinstance(v, int) else f"{v:.3f}" for v in cells]
        print(f"| {name} | " + " | ".join(shown) + " |")


def samples_of(manifest: Path, part: str) -> list[Sample]:
    """The evaluation split, or the pictures that the shipped weights' training never saw; says what is left out."""
    if part != "eval":
        left_out = LeftOut()
        samples = parts_of(manifest, PARTS, left_out=left_out)["validation"]
    else:
        data = open_data(manifest, split="eval")
        samples, left_out = list(data), data.left_out
    left_out.tell()
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="an exported checkpoint; the bundled one where absent")
    parser.add_argument("--raw", action="store_true", help="judge the files as they are")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=("eval", "validation", "both"), default="both")
    options = parser.parse_args()
    from pixelsleuth.compact.detector import load

    detector = CompactDetector(options.folder) if options.folder else load()
    wanted = ("validation", "eval") if options.part == "both" else (options.part,)
    chosen = {name: samples_of(options.manifest, name) for name in wanted}
    output: dict[str, Any] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "raw": options.raw,
    }
    for name, samples in chosen.items():
        rows = []
        for index, sample in enumerate(samples):
            rows.append(judge(detector, sample, raw=options.raw))
            if sys.stderr.isatty():
                print(f"\r{name} {index + 1}/{len(samples)}", end="", file=sys.stderr)
        output[name] = table(rows) | {
            "goals": {"faces real against StyleGAN2, accuracy": faces_accuracy(rows)}
        }
        print_table(
            f"{name}, {'as the files are' if options.raw else 'equalised'}",
            {k: v for k, v in output[name].items() if k != "goals"},
        )
        print(f"\nfaces, real against StyleGAN2, accuracy: {faces_accuracy(rows):.3f}")
    if options.json:
        options.json.write_text(json.dumps(output, indent=1, default=float))


if __name__ == "__main__":
    main()
