"""`report.html` of an evaluation, from `metrics.json` and `predictions.jsonl`: one file, no script, nothing from
elsewhere. `explorer.html` lies beside it.

The look is that of the reports of `check` (`reporting/templates/report.css`) with a few rules of its own.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth import __version__
from pixelsleuth.core.io import write_text
from pixelsleuth.data.left_out import sentence_of
from pixelsleuth.evaluation.figures import Frame
from pixelsleuth.evaluation.pictures import Pictures
from pixelsleuth.evaluation.predictions import LOG, Row, read_rows
from pixelsleuth.evaluation.protocols import Protocol
from pixelsleuth.evaluation.report.curves import plots_of
from pixelsleuth.evaluation.report.explorer import write_explorer
from pixelsleuth.evaluation.report.gallery import examples_of
from pixelsleuth.reporting.page import OUR_PAGE, environment, style

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE = "pixelsleuth.evaluation.report"
HEADLINE = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "binary_accuracy": "Accuracy fake / real",
    "auroc": "AUROC fake / real",
    "auroc_full_synthetic": "AUROC synthetic / real",
    "auroc_tampered": "AUROC tampered / real",
    "ece": "Calibration error",
    "pixel_f1": "Pixel F1",
    "pixel_iou": "Pixel IoU",
    "pixel_auc": "Pixel AUC",
    "false_alarm_area": "False-alarm area",
}
PARTS = {
    **{name: HEADLINE[name] for name in ("accuracy", "binary_accuracy", "auroc")},
    "auroc_against_all_real": "AUROC against all real",
    **{name: HEADLINE[name] for name in ("pixel_f1", "pixel_iou", "pixel_auc", "false_alarm_area")},
}
NAMED = 3
"""Up to so many detectors stand in the heading by name, and their differences in the open."""
TITLES = {"real": "Real", "full_synthetic": "Full synthetic", "tampered": "Tampered"}


def write_report(folder: Path, pictures: Pictures) -> Path:
    """Write `folder/report.html`, and `explorer.html` where there is something to explore. Raises OutputError."""
    result = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    known = {key: value for key, value in result["protocol"].items() if key in Protocol.__dataclass_fields__}
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in known.items()}
    protocol = Protocol(**fields)
    rows: dict[tuple[str, str], list[Row]] = {}
    judged = {index for index, _ in pictures}
    for row in read_rows(folder / LOG):
        if row["condition"] == "clean" and row["index"] in judged:
            rows.setdefault((row["model"], row["version"]), []).append(row)
    frames = [Frame(rows.get((model["name"], model["version"]), [])) for model in result["models"]]
    values = {
        "r": result,
        **style((PACKAGE, "evaluation.css")),
        "version": __version__,
        "headline": HEADLINE,
        "named": NAMED,
        "parts": PARTS,
        "labels": TITLES,
        "plots": plots_of(result),
        "examples": [examples_of(frame, pictures, protocol) for frame in frames],
        "speed": [_speed(frame) for frame in frames],
        "conditions": list(result["models"][0]["conditions"]),
        "title": title_of([model["name"] for model in result["models"]]),
        "notes": notes_of(result["models"]),
        "left_out": sentence_of(result["data"]["left_out"]),
        "explorer": (explorer := write_explorer(folder, pictures, protocol)) and explorer.name,
    }
    path = folder / "report.html"
    page = _templates().get_template("evaluation.html.j2").render(values)
    write_text(path, page, kind="HTML report", ours=OUR_PAGE)
    return path


def title_of(names: list[str]) -> str:
    """The detectors in a heading: by name, or how many.

    >>> title_of(["a", "b"]), title_of(list("abcde"))
    ('a and b', '5 detectors')
    """
    return " and ".join(names) if len(names) <= NAMED else f"{len(names)} detectors"


def notes_of(models: list[dict[str, Any]]) -> dict[str, str]:
    """Each note once, with the names of the detectors that it is about."""
    subjects: dict[str, list[str]] = {}
    for model in models:
        for note in model["notes"]:
            subjects.setdefault(note, []).append(model["name"])
    return {note: ", ".join(names) for note, names in subjects.items()}


def figure(row: dict[str, Any] | None) -> str:
    """A figure as a reader sees it: three digits, a dash where it is not defined."""
    return "-" if row is None or row.get("value") is None else f"{row['value']:.3f}"


def interval(row: dict[str, Any] | None) -> str:
    """Its interval, or nothing."""
    return "" if row is None or row.get("low") is None else f"{row['low']:.3f} to {row['high']:.3f}"


def number(value: float | None, digits: int = 3) -> str:
    """A bare number, a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def present(parts: dict[str, Any], names: dict[str, str]) -> list[str]:
    """Those of `names` that at least one part has a value for."""
    return [
        name for name in names
        if any((part["figures"].get(name) or {}).get("value") is not None for part in parts.values())
    ]  # fmt: skip


def shade(share: float) -> str:
    """The class of a cell's shade, s0 to s9."""
    return f"s{min(9, int(10 * share))}"


def _speed(frame: Frame) -> dict[str, float] | None:
    times = [float(row["elapsed_ms"]) for row in frame.rows if "elapsed_ms" in row]
    return {"mean": sum(times) / len(times), "count": len(times)} if times else None


@functools.cache
def _templates() -> Environment:
    templates = environment(PACKAGE)
    templates.filters |= {
        "figure": figure,
        "interval": interval,
        "number": number,
        "shade": shade,
        "present": present,
    }
    return templates
