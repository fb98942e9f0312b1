"""Stage 2: where the object is.

`shapes` draws a free shape; `polygons` takes the given outline of the object; `grounded` asks Grounding DINO for boxes
of the object's name and SAM for the mask inside them (`forge.grounding`). The mask is kept at the run's size, 0 or 255.
"""

from __future__ import annotations

import io

import cv2
import numpy as np

from pixelsleuth.data.equalise import random_for, resized
from pixelsleuth.errors import Rejected
from pixelsleuth.forge.shapes import Random, free_shape, outline_shape
from pixelsleuth.forge.sources import Context, photograph, size_policy
from pixelsleuth.forge.stages import Row, write_bytes


def find_mask(row: Row, context: Context) -> list[Row]:
    """Add `mask` (a path in the run's folder), `mask_from`, `mask_area` (share). Raises Rejected."""
    config = context.config.masks
    random = random_for(f"mask/{row['id']}", context.config.seed)
    told: Row = {}
    if config.method == "polygons":
        mask = _outline(row, context, random)
    elif config.method == "grounded":
        from pixelsleuth.forge.grounding import grounded_mask

        if not row.get("object"):
            raise Rejected(f"{row['id']}: no object is known that could be looked for.")
        mask, told = grounded_mask(photograph(row, context), row["object"], config, context.config.device)
    else:
        height, width = photograph(row, context).shape[:2]
        mask = _fitting(lambda: free_shape(height, width, random), config.smallest, config.largest)
    area = float((mask > 0).mean())
    if not config.smallest <= area <= config.largest:
        raise Rejected(
            f"{row['id']}: the mask of {row.get('object') or 'the shape'} covers {area:.1%}, outside "
            f"{config.smallest:.1%} to {config.largest:.0%}."
        )
    name = f"masks/{row['id']}.png"
    write_bytes(context.folder / name, png(mask))
    return [{**row, "mask": name, "mask_from": config.method, "mask_area": round(area, 5), **told}]


def _fitting(make: object, smallest: float, largest: float) -> np.ndarray:
    for _ in range(20):
        mask: np.ndarray = make()  # type: ignore[operator]
        if smallest <= (mask > 0).mean() <= largest:
            break
    return mask


def _outline(row: Row, context: Context, random: Random) -> np.ndarray:
    """The mask of one given object: of the class that the caption named where there is one, else of any."""
    config = context.config.masks
    named = [one for one in row["objects"] if one.get("category") == row.get("coco_class")]
    found = []
    for one in named or row["objects"]:
        mask = np.zeros((row["height"], row["width"]), np.uint8)
        for polygon in one.get("polygons", []):
            if len(polygon) >= 6:
                points = np.array(polygon[: len(polygon) // 2 * 2], np.float32).reshape(-1, 2)
                mask |= outline_shape(points, row["height"], row["width"])
        mask = resized(mask, size_policy(context.config), mask=True)[0]
        if config.smallest <= (mask > 0).mean() <= config.largest:
            found.append(mask)
    if not found:
        raise Rejected(f"{row['id']}: no outline of a sensible size is given for it.")
    return found[int(random.integers(len(found)))]


def load_mask(context: Context, name: str) -> np.ndarray:
    """A mask of the run's folder, (H, W) uint8 0/255."""
    mask = cv2.imread(str(context.folder / name), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise Rejected(
            f"{name} is gone from the folder of the run; remove the stage's JSONL file to make it again."
        )
    return ((np.asarray(mask) > 127) * np.uint8(255)).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of (H, W) or (H, W, 3) uint8."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
