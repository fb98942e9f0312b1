"""Several detectors of one evaluation, by source, as Markdown.

    pixelsleuth evaluate --model compact --model runs/npr/model --data MANIFEST.csv --split eval --out DIR
    python benchmarks/by_source.py DIR/metrics.json

First every detector over all pictures, then the share of each source that is told right, real or fake.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

OVERALL = {
    "balanced_accuracy": "bal. acc., 3 classes", "binary_accuracy": "acc. fake / real", "auroc": "AUROC fake / real",
    "auroc_full_synthetic": "AUROC synth.", "auroc_tampered": "AUROC tamp.", "pixel_f1": "pixel F1",
    "pixel_iou": "pixel IoU", "pixel_auc": "pixel AUC", "false_alarm_area": "false area",
}  # fmt: skip


def figure(figures: dict[str, Any], name: str) -> str:
    value = (figures.get(name) or {}).get("value")
    return "" if value is None else f"{value:.3f}"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metrics", type=Path, help="metrics.json of an evaluation.")
    result = json.loads(parser.parse_args().metrics.read_text("utf-8"))
    clean = {one["name"]: one["conditions"]["clean"] for one in result["models"]}
    print(row("detector", *OVERALL.values()))
    print(row("---", *("---:" for _ in OVERALL)))
    for name, one in clean.items():
        print(row(name, *(figure(one["figures"], key) for key in OVERALL)))
    print()
    print(row("source", "pictures", *clean))
    print(row("---", *("---:" for _ in range(len(clean) + 1))))
    for source, part in next(iter(clean.values()))["by_source"].items():
        shares = (figure(one["by_source"][source]["figures"], "binary_accuracy") for one in clean.values())
        print(row(source, str(part["pictures"]), *shares))


if __name__ == "__main__":
    main()
