"""Accuracy of the compact detector: by source, on evaluation pictures, and on sources that its training left out.

Three tables. *Evaluation*: every picture of the split `eval`, decoded and given the same JPEG pass (quality 90, 4:2:0,
native size); `--raw` judges the files' own pixels. Pixel figures are those of the heat map, threshold 0.5, means over
tampered pictures whatever class was predicted; *shown area* is that of the mask that a person is shown. *Left out*: the
scores that travel with the model (`decision.json`), by source, with the two bounds of the decision. *Size alone*: how
far width and height of a picture give its class away, learnt on the training splits: the row that figures have to beat.

Run: `python benchmarks/accuracy.py --manifest ../shared/corpus/manifest.csv ../shared/corpus2/manifest.csv
[--folder EXPORTED] [--raw] [--fast] [--json OUT.json]`
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelsleuth.compact.detector import CompactDetector, load
from pixelsleuth.core.decision import Decision
from pixelsleuth.core.scores import Scores
from pixelsleuth.core.verdict import LABELS, Label, Verdict
from pixelsleuth.data.equalise import equalise
from pixelsleuth.data.readers import open_data
from pixelsleuth.data.sample import Sample
from pixelsleuth.evaluation.metrics import detection, localization

Row = dict[str, Any]
COLUMNS = {
    "pictures": "n",
    "balanced_accuracy": "bal. acc",
    "auroc_synthetic": "AUROC synth.",
    "auroc_tampered": "AUROC tamp.",
    "accused": "accused",
    "conclusive": "conclusive",
    "conclusive_right": "of these right",
    "pixel_f1": "F1",
    "pixel_auc": "pixel AUC",
    "pixel_best_f1": "F1 best thr.",
    "alarm": "heat area",
    "shown": "shown area",
}


def judge(detector: CompactDetector, sample: Sample, *, raw: bool) -> Row:
    """What the detector says of one picture, and pixel figures where it is tampered."""
    picture, truth = sample.load()
    pixels = picture.pixels if raw else np.ascontiguousarray(equalise(picture.pixels))
    verdict = detector.check(pixels, explain=False)
    chance = full_size(verdict, pixels.shape[:2])
    row = row_of(sample.source, LABELS.index(sample.label), verdict)
    row |= {"tamper": sample.tamper.split(" (")[0], "alarm": float((chance >= 128).mean())}
    row["shown"] = 0.0 if verdict.mask is None else float(verdict.mask.mean())
    if truth is not None:
        figures = localization.picture_figures(
            localization.histograms(chance, truth.pixels), localization.Empty.ZERO
        )
        row |= {name: float(np.nan_to_num(figures[name])) for name in ("f1", "auc", "best_f1")}
    return row


def row_of(source: str, label: int, verdict: Verdict) -> Row:
    assert verdict.probabilities is not None
    chances = np.array([verdict.probabilities[name] for name in LABELS])
    return {
        "source": source,
        "label": label,
        "probabilities": chances,
        "conclusive": not verdict.inconclusive,
    }


def full_size(verdict: Verdict, shape: tuple[int, ...]) -> np.ndarray:
    """The heat map as (H, W) uint8."""
    assert verdict.heatmap is not None
    coarse = Image.fromarray((verdict.heatmap * 255 + 0.5).astype(np.uint8))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def auroc(rows: Sequence[Row], positive: int) -> float | None:
    """AUROC of class `positive` against real, by its probability relative to real's; None where a class is missing."""
    kept = [r for r in rows if r["label"] in (0, positive)]
    if len({r["label"] for r in kept}) < 2:
        return None
    scores = detection.relative_score(np.array([r["probabilities"] for r in kept]), positive)
    return float(detection.auroc([r["label"] == positive for r in kept], scores))


def mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else None


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Every figure of a set of rows."""
    truth = [row["label"] for row in rows]
    predicted = [int(np.argmax(row["probabilities"])) for row in rows]
    matrix = detection.confusion_matrix(truth, predicted, len(LABELS))
    sure = [(row["label"], guess) for row, guess in zip(rows, predicted, strict=True) if row["conclusive"]]
    authentic = [
        row["conclusive"] and guess != 0
        for row, guess in zip(rows, predicted, strict=True)
        if row["label"] == 0
    ]
    return {
        "pictures": len(rows),
        "balanced_accuracy": detection.balanced_accuracy(matrix) if len(set(truth)) > 1 else None,
        "auroc_synthetic": auroc(rows, 1),
        "auroc_tampered": auroc(rows, 2),
        "accused": float(np.mean(authentic)) if authentic else None,
        "conclusive": len(sure) / len(rows),
        "conclusive_right": float(np.mean([a == b for a, b in sure])) if sure else None,
        "pixel_f1": mean(rows, "f1"),
        "pixel_auc": mean(rows, "auc"),
        "pixel_best_f1": mean(rows, "best_f1"),
        "alarm": mean([row for row in rows if row["label"] == 0], "alarm"),
        "shown": mean([row for row in rows if row["label"] == 0], "shown"),
    }


def table(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Overall, and by source (with its kinds of tampering)."""
    by: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by[row["source"]].append(row)
        if row.get("tamper"):
            by[f"{row['source']} {row['tamper']}"].append(row)
    return {"overall": summarise(rows)} | {name: summarise(by[name]) for name in sorted(by)}


def left_out(decision: Decision) -> tuple[list[Row], dict[str, Any]]:
    """Rows of the pictures that stand for photographs as they are, and what the decision promises."""
    scores: Scores = decision.scores
    rows = [
        {
            "source": scores.sources[scores.source[n]],
            "label": int(scores.label[n]),
            "probabilities": scores.views[n, 0] / scores.views[n, 0].sum(),
            "conclusive": bool(decision.conclusive[n]),
        }
        for n in np.flatnonzero(scores.kind == 0)
    ]
    accused = decision.accused()
    promise = {
        "bounds": {"accused": decision.bounds.accused, "right": decision.bounds.right},
        "accused": accused.to_dict(),
        "wrong": {label.value: decision.record(label).to_dict() for label in Label},
        "thresholds": {label.value: decision.thresholds[label] for label in Label},
    }
    return rows, promise


def size_alone(manifests: Sequence[Path], held: Sequence[Sample]) -> dict[str, float]:
    """AUROC of a regression over width and height alone, learnt on the training splits, on the evaluation pictures."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learnt = [sample for manifest in manifests for sample in open_data(manifest, split="train")]
    figures = {}
    for name, positive in (("auroc_synthetic", Label.FULL_SYNTHETIC), ("auroc_tampered", Label.TAMPERED)):
        sides, truth = zip(*(_sides(learnt, positive), _sides(held, positive)), strict=True)
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(sides[0], truth[0])
        figures[name] = float(detection.auroc(truth[1], model.decision_function(sides[1])))
    return figures


def _sides(samples: Sequence[Sample], positive: Label) -> tuple[np.ndarray, np.ndarray]:
    """(log width, log height) (N, 2) of the pictures that are real or of the class, and which they are."""
    kept = [sample for sample in samples if sample.label in (Label.REAL, positive)]
    sides = [[np.log(sample.open().width), np.log(sample.open().height)] for sample in kept]
    return np.array(sides), np.array([sample.label == positive for sample in kept])


def print_table(title: str, figures: dict[str, dict[str, Any]]) -> None:
    used = [name for name in COLUMNS if any(row.get(name) is not None for row in figures.values())]
    print(f"\n### {title}\n\n| source | " + " | ".join(COLUMNS[name] for name in used) + " |")
    print("|---|" + "---:|" * len(used))
    for name, row in figures.items():
        cells = [row.get(column) for column in used]
        shown = ["" if v is None or v != v else str(v) if isinstance(v, int) else f"{v:.3f}" for v in cells]
        print(f"| {name} | " + " | ".join(shown) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, nargs="+", required=True)
    parser.add_argument("--folder", type=Path, help="an exported checkpoint; the bundled one where absent")
    parser.add_argument("--raw", action="store_true", help="judge the files as they are")
    parser.add_argument("--fast", action="store_true", help="without the two re-saves")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    detector = CompactDetector(options.folder) if options.folder else load()
    if detector.scores is not None:
        detector.decide_by(stable=not options.fast)
    held = [sample for manifest in options.manifest for sample in open_data(manifest, split="eval")]
    rows = []
    for index, sample in enumerate(held):
        rows.append(judge(detector, sample, raw=options.raw))
        if sys.stderr.isatty():
            print(f"\r{index + 1}/{len(held)}", end="", file=sys.stderr)
    output: dict[str, Any] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "raw": options.raw,
        "eval": table(rows) | {"size alone": size_alone(options.manifest, held)},
    }
    print_table(f"eval, {'as the files are' if options.raw else 'equalised'}", output["eval"])
    if detector.decision is not None:
        rows, output["decision"] = left_out(detector.decision)
        output["left out"] = table(rows)
        print_table("sources left out", output["left out"])
        print(f"\n{json.dumps(output['decision'])}")
    if options.json:
        options.json.write_text(json.dumps(output, indent=1, default=float))


if __name__ == "__main__":
    main()
