"""Verdicts as tasks for Label Studio: the picture, what was judged as a prediction, and the labelling configuration.

A reviewer sees the verdict, corrects class, mask and boxes, and exports; `data.readers.labelstudio` reads that.
Coordinates are those of the upright picture, as a browser shows it; boxes in percent of its sides.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pixelsleuth.core import brush
from pixelsleuth.core.outputs import AtomicFile
from pixelsleuth.reporting import words
from pixelsleuth.reporting.words import percent, printable
from pixelsleuth.scale import remote
from pixelsleuth.scale.judged import finding, judged_rows, located, unfolded

if TYPE_CHECKING:
    from pixelsleuth.scale.results import Results

ENDING = ".labelstudio.json"
SERVED = "/data/local-files/?d="
"""How Label Studio addresses a file below its LOCAL_FILES_DOCUMENT_ROOT."""
COLUMNS = ("id", "state", "source", "sha256", "width", "height", "label", "confidence", "inconclusive", "decision",
           "probabilities", "mask", "regions", "explanation")  # fmt: skip
CONFIGURATION = """\
<View>
  <Header value="$verdict"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <Choices name="label" toName="image" choice="single-radio" required="true">
    <Choice value="real"/>
    <Choice value="full_synthetic"/>
    <Choice value="tampered"/>
  </Choices>
  <BrushLabels name="mask" toName="image">
    <Label value="tampered" background="#d81b60"/>
  </BrushLabels>
  <RectangleLabels name="box" toName="image">
    <Label value="tampered region" background="#1e88e5"/>
  </RectangleLabels>
  <Text name="explanation" value="$explanation"/>
</View>
"""
"""For the project's settings, "Labeling Interface", "Code"."""


def write(results: Results, file: AtomicFile, *, root: str | None = None) -> int:
    """Write a task a judged picture; return their number. `root`: the folder that Label Studio serves (`/`: all).

    A picture outside `root` cannot be shown, so it is left out. The configuration is written beside, as `.xml`.
    """
    tasks = outside = 0
    top = Path(os.path.abspath(root or os.sep))
    version = " ".join(filter(None, map(results.model.get, ("name", "version"))))
    file.write("[")
    for path, row in judged_rows(results, COLUMNS):
        address = address_of(row["source"], results.base, top)
        if address is None:
            outside += 1
            continue
        try:
            task = _task(row, address, version)
            text = json.dumps(task, ensure_ascii=False, allow_nan=False)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            results.leave_out_row(path, row["id"], error)
            continue
        file.write(f"{',' if tasks else ''}\n{text}")
        tasks += 1
    file.write("]\n")
    if outside:
        results.remark(
            f"{words.count(outside, 'picture')} outside {printable(str(top))}, which Label Studio serves, left out of "
            f"{printable(file.path.name)}: name a folder above all with --root."
        )
    return tasks


def configuration_beside(path: str) -> Path:
    """Where the labelling configuration of an export of this name stands."""
    return Path(path).with_suffix(".xml")


def address_of(source: str, base: str, root: Path) -> str | None:
    """The address under which Label Studio shows a picture; None for a file outside `root`."""
    if remote.is_address(source):
        return source
    path = Path(os.path.abspath(os.path.join(base, source)))
    if not path.is_relative_to(root):
        return None
    return SERVED + quote(path.relative_to(root).as_posix())


def _task(row: Mapping[str, Any], address: str, version: str) -> dict[str, Any]:
    confidence = row["confidence"]
    said = f"{row['label']}, {percent(confidence)}"
    return {
        "data": {
            "image": address,
            "source": row["source"],
            "sha256": row["sha256"],
            "verdict": f"inconclusive ({said})" if row["inconclusive"] else said,
            "explanation": row["explanation"] or "",
        },
        "predictions": [{"model_version": version, "score": confidence, "result": _regions(dict(row))}],
    }


def _regions(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What was judged as regions: the class where it is conclusive, mask and boxes where they are findings."""
    width, height = row["width"], row["height"]
    shared = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    regions: list[dict[str, Any]] = []
    if not row["inconclusive"]:
        choice = {
            "from_name": "label",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [row["label"]]},
        }
        regions.append({"id": f"{row['id']}-label", **choice})
    marked = finding(row)
    if marked is not None:
        value = {"format": "rle", "rle": brush.encode(unfolded(marked[0])), "brushlabels": ["tampered"]}
        regions.append(
            {"id": f"{row['id']}-mask", "from_name": "mask", "type": "brushlabels", **shared, "value": value}
        )
    for number, region in enumerate(row["regions"] or () if located(row) else ()):
        x0, y0, x1, y1 = region["box"]
        box: dict[str, Any] = {
            "x": 100 * x0 / width, "y": 100 * y0 / height, "rotation": 0,
            "width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height,
            "rectanglelabels": ["tampered region"],
        }  # fmt: skip
        regions.append(
            {"id": f"{row['id']}-box-{number}", "from_name": "box", "type": "rectanglelabels", **shared,
             "value": box, "score": region["score"]}
        )  # fmt: skip
    return regions
