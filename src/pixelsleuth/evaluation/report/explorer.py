"""`explorer.html` of an evaluation: move the threshold, see what is flagged, what is missed, and which pictures.

One self-contained file beside `report.html`. Its data are counts (`thresholds.py`) and thumbnails of the surest errors,
so that its size is bounded; its policy allows its own script and style by their hashes, and pictures as data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pixelsleuth import __version__
from pixelsleuth.core.io import write_text
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import PictureError
from pixelsleuth.evaluation.figures import Frame
from pixelsleuth.evaluation.judging import CLEAN
from pixelsleuth.evaluation.pictures import Pictures, load
from pixelsleuth.evaluation.predictions import LOG, Row, read_rows
from pixelsleuth.evaluation.protocols import Protocol
from pixelsleuth.evaluation.report.thresholds import half_of, tables
from pixelsleuth.reporting.page import OUR_PAGE, embedded, environment, script, style
from pixelsleuth.reporting.words import printable

PACKAGE = "pixelsleuth.evaluation.report"
EXPLORER = "explorer.html"
SIDE = 200
"""Longer side of a thumbnail in pixels: near 8 KB each."""
MOST_THUMBNAILS = 300
MOST_TEXT = 600


def write_explorer(folder: Path, pictures: Pictures, protocol: Protocol) -> Path | None:
    """Write `folder/explorer.html` from `predictions.jsonl`.

    Returns None, and writes nothing, where no score has both authentic pictures and fakes. Raises OutputError.
    """
    rows: dict[tuple[str, str], dict[str, list[Row]]] = {}
    judged = {index for index, _ in pictures}
    for row in read_rows(folder / LOG):
        if row["index"] in judged:
            rows.setdefault((row["model"], row["version"]), {}).setdefault(row["condition"], []).append(row)
    sources: dict[str, int] = {}
    models = []
    known: dict[int, Row] = {}
    for (name, version), conditions in rows.items():
        frames = {condition: Frame(found) for condition, found in conditions.items()}
        scores = {condition: tables(frame, sources) for condition, frame in frames.items() if len(frame)}
        scores = {condition: found for condition, found in scores.items() if found}
        if scores:
            models.append({"name": printable(name), "version": printable(version), "conditions": scores})
            for condition in sorted(scores, key=lambda condition: condition == CLEAN):
                known.update((int(row["index"]), row) for row in frames[condition].rows)
    if not models:
        return None
    data = {
        "models": models,
        "sources": [printable(source) for source in sources],
        "pictures": _pictures(models, known, pictures, protocol),
    }
    values = {
        **style((PACKAGE, "evaluation.css"), (PACKAGE, "explorer.css")),
        **script(PACKAGE, "explorer.js"),
        "version": __version__,
        "data": embedded(data),
        "name": Path(json.loads((folder / "metrics.json").read_text("utf-8"))["data"]["name"]).name,
        "clean": CLEAN,
    }
    page = environment(PACKAGE).get_template("explorer.html.j2").render(values)
    path = folder / EXPLORER
    write_text(path, page, kind="HTML page", ours=OUR_PAGE)
    return path


def _pictures(
    models: list[dict[str, Any]], known: dict[int, Row], pictures: Pictures, protocol: Protocol
) -> dict[str, dict[str, Any]]:
    """What the page shows of each picture in a list of errors; the surest of all lists get a thumbnail first."""
    lists = [
        table[kind]
        for model in models
        for tables_of in model["conditions"].values()
        for table in tables_of.values()
        for kind in ("alarms", "misses")
    ]
    longest = max(map(len, lists))
    order = dict.fromkeys(found[rank][0] for rank in range(longest) for found in lists if rank < len(found))
    samples = dict(pictures)
    described = {}
    shown = 0
    for index in order:
        row = known[index]
        thumbnail = _thumbnail(samples.get(index), protocol) if shown < MOST_THUMBNAILS else ""
        shown += bool(thumbnail)
        described[str(index)] = {
            "path": printable(row["path"]),
            "label": row["label"],
            "source": printable(row.get("source") or "no source named"),
            "half": half_of(str(row["group"] or row["path"])),
            "made": " ".join(printable(row[key]) for key in ("generator", "tamper") if row.get(key)),
            "says": dict(zip(map(str, LABELS), row["probabilities"], strict=True)),
            "text": printable(row.get("explanation") or "")[:MOST_TEXT],
            "uri": thumbnail,
        }
    return described


def _thumbnail(sample: Any, protocol: Protocol) -> str:
    """The picture as the detector got it, as a data URI; nothing where it cannot be read any more."""
    from pixelsleuth.reporting.thumbnails import jpeg_uri, thumbnail

    if sample is None:
        return ""
    try:
        pixels = load(sample, protocol).picture.pixels
    except PictureError:
        return ""
    return jpeg_uri(thumbnail(pixels, SIDE), quality=78)
