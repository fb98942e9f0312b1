"""The contact sheet of a scan: its most suspicious pictures, small, under what the model marked.

The mark is the heat map, where the scan kept it, or else the mask. A picture is read again where it still lies; it is
shown where its bytes are those that were judged.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pixelsleuth.decoding.pool import DecoderPool, Upload
from pixelsleuth.errors import PixelSleuthError
from pixelsleuth.reporting import thumbnails, words
from pixelsleuth.reporting.words import percent, printable
from pixelsleuth.scale import heatmaps
from pixelsleuth.scale.judged import located
from pixelsleuth.scale.reading import read
from pixelsleuth.scale.rows import HEATMAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pixelsleuth.scale.listing import Entry
    from pixelsleuth.scale.results import Results

SIDE = 320
"""Longer side of a thumbnail in pixels: 50 of them make a page of about 1 MB."""
HEAT_SIDE = 200
"""Longer side of the layer that marks a place."""
MOST_REGIONS = 8
DECODE_SECONDS = 20.0
"""Seconds that a picture may take to decode; the scan itself gave it more."""
USUAL_MEGAPIXELS = 100.0
GONE = "no longer readable"
CHANGED = "changed since it was judged"
NOT_READ = "not read"


def tiles(results: Results, ids: list[int], *, pictures: bool) -> Iterator[dict[str, Any]]:
    """The values of a tile for each row: what `templates/summary.html.j2` prints. Without `pictures` none is read."""
    pool = None
    try:
        for number, (row, entry) in enumerate(results.rows(ids), 1):
            if pictures and pool is None:
                pool = DecoderPool(1, seconds=DECODE_SECONDS, max_megapixels=_megapixels(results.settings))
            yield _words(row, number) | (
                _look(row, entry, results.base, pool) if pool else {"missing": NOT_READ}
            )
    finally:
        if pool is not None:
            pool.close()


def _megapixels(settings: dict[str, Any]) -> float:
    """The limit of the scan, where its folder says a usable one."""
    value = settings.get("max_megapixels")
    usable = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if usable and value is not None else USUAL_MEGAPIXELS


def _words(row: dict[str, Any], number: int) -> dict[str, Any]:
    state = "inconclusive" if row["inconclusive"] else row["label"]
    folder, file = words.split_source(printable(row["source"]))
    probabilities = row["probabilities"]
    return {
        "number": number,
        "id": row["id"],
        "state": state,
        "name": words.NAMES[state],
        "folder": folder,
        "file": file,
        "origin": printable(row["origin"]) if row["origin"] else "",
        "scores": [
            (words.NAMES[name].lower(), percent(probabilities[name]))
            for name in ("tampered", "full_synthetic")
        ],
        "missing": "",
        "picture": None,
        "heat": None,
        "boxes": [],
    }


def _look(row: dict[str, Any], entry: Entry, base: str, pool: DecoderPool) -> dict[str, Any]:
    """Thumbnail, layer of the heat map and boxes; or why there are none."""
    try:
        data = bytes(read(entry, base))
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            return {"missing": CHANGED}
        picture = pool.decode(Upload(data, None, False), math.inf).result().picture
    except (PixelSleuthError, OSError, ValueError):
        picture = None
    if picture is None:
        return {"missing": GONE}
    height, width = picture.pixels.shape[:2]
    try:
        small = thumbnails.thumbnail(picture.pixels, SIDE)
    finally:
        pool.budget.give(picture.pixels.nbytes)
    finding = located(row)
    heat = _heat(row, height, width)
    layer = None
    if heat is not None:
        layer = thumbnails.heat_layer(heat, max_side=HEAT_SIDE, finding=finding)
    regions = sorted(row["regions"] or [], key=lambda region: -(region["score"] or 0))[:MOST_REGIONS]
    boxes = [region["box"] for region in regions if region["box"] and len(region["box"]) == 4]
    return {
        "picture": thumbnails.jpeg_uri(small, quality=80),
        "shown": small.size,
        "size": (width, height),
        "heat": thumbnails.png_uri(layer) if layer is not None else None,
        "boxes": [(x0, y0, max(0, x1 - x0), max(0, y1 - y0)) for x0, y0, x1, y1 in boxes] if finding else [],
    }


def _heat(row: dict[str, Any], height: int, width: int) -> NDArray[Any] | None:
    """The heat map of a row, or else its mask; None where it has neither, or none that is whole."""
    from pixelsleuth.core.rle import decode

    if row.get(HEATMAP) is not None:
        with contextlib.suppress(ValueError):
            return heatmaps.decode(row[HEATMAP])
    rle = (row["mask"] or {}).get("rle")
    if rle is None or rle["size"] != [height, width]:
        return None
    try:
        return decode(rle).astype("float32")
    except (ValueError, TypeError):
        return None
