"""Verdicts as a folder that FiftyOne opens: `Dataset.from_dir(dataset_dir=..., dataset_type=fo.types.FiftyOneDataset)`.

    metadata.json   samples.json   fields/mask/ID.png (255 = tampered)

The form is the first one of FiftyOne, which it still reads and whose fields it works out by itself; the current one
also holds the documents of its data base, which differ between versions. Pictures stay where they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.outputs import whole_folder
from pixelsleuth.scale import remote
from pixelsleuth.scale.judged import finding, judged_rows, located, unfolded

if TYPE_CHECKING:
    from pixelsleuth.scale.results import Results

ENDING = ".fiftyone"
MASKS = "fields/mask"
"""FiftyOne takes relative paths below `fields/NAME` for those of the field NAME."""
COLUMNS = ("id", "state", "source", "sha256", "width", "height", "label", "confidence", "inconclusive", "decision",
           "probabilities", "mask", "regions", "explanation")  # fmt: skip


def write(results: Results, path: str) -> int:
    """Write the folder, whole or not at all; return the number of samples. Raises OutputError."""
    samples = 0
    with whole_folder(path, kind="FiftyOne data set", ours="samples.json") as folder:
        masks = folder / MASKS
        masks.mkdir(parents=True)
        with (folder / "samples.json").open("w", encoding="utf-8", newline="\n") as file:
            file.write('{"samples": [')
            for part, row in judged_rows(results, COLUMNS):
                try:
                    sample = _sample(row, results.base, masks)
                    text = json.dumps(sample, ensure_ascii=False, allow_nan=False)
                except (ValueError, TypeError, KeyError, OverflowError) as error:
                    results.leave_out_row(part, row["id"], error)
                    continue
                file.write(f"{',' if samples else ''}\n{text}")
                samples += 1
            file.write("]}\n")
        (folder / "metadata.json").write_text(
            json.dumps(_metadata(results, path), indent=1) + "\n", encoding="utf-8"
        )
    return samples


def _metadata(results: Results, path: str) -> dict[str, Any]:
    from pixelsleuth import __version__

    model = " ".join(filter(None, map(results.model.get, ("name", "version"))))
    return {
        "name": Path(path).stem,
        "media_type": "image",
        "info": {"description": f"Verdicts of PixelSleuth {__version__}", "model": model},
    }


def _sample(row: dict[str, Any], base: str, masks: Path) -> dict[str, Any]:
    width, height = row["width"], row["height"]
    source = row["source"]
    sample = {
        "filepath": source if remote.is_address(source) else os.path.abspath(os.path.join(base, source)),
        "tags": ["inconclusive"] if row["inconclusive"] else [],
        "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
        "verdict": {"_cls": "Classification", "label": row["label"], "confidence": row["confidence"]},
        "inconclusive": row["inconclusive"],
        **{f"probability_{name}": share for name, share in row["probabilities"].items()},
        "explanation": row["explanation"],
        "sha256": row["sha256"],
        "regions": {
            "_cls": "Detections",
            "detections": [
                _detection(region, width, height) for region in (row["regions"] or () if located(row) else ())
            ],
        },
    }
    marked = finding(row)
    if marked is not None:
        name = f"{row['id']}.png"
        _write_mask(marked[0], masks / name)
        sample["mask"] = {"_cls": "Segmentation", "mask_path": f"{MASKS}/{name}"}
    return sample


def _detection(region: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    x0, y0, x1, y1 = region["box"]
    return {
        "_cls": "Detection",
        "label": "tampered",
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "confidence": region["score"],
    }


def _write_mask(lengths: dict[str, Any], path: Path) -> None:
    from PIL import Image

    Image.fromarray(unfolded(lengths).astype("uint8") * 255).save(path)
