"""One card of the report: a verdict as the plain values that the template prints."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pixelsleuth.reporting import drawings, findings, words
from pixelsleuth.reporting.words import percent, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pixelsleuth.core.verdict import Label, Verdict
    from pixelsleuth.reporting.drawings import Look

PRINT_SIDE = 480
"""Longer side in pixels of the plain copy that is printed beside the heat map."""

MOST_REGIONS = 8

LOOK = "Where to look"
"""Title of a heat map that is no finding."""
VIEW_NAMES = {"heat": "Heat map", "boxes": "Boxes", "plain": "Picture"}


@dataclass(frozen=True)
class Truth:
    """The truth about a picture (demo, evaluation): label, a note, the true mask if there is one."""

    label: Label
    note: str = ""
    mask: NDArray[np.bool_] | None = None


WRONG_PLACE = "wrong place"
LEAST_OVERLAP = 0.2


def outcome(verdict: Verdict, truth: Truth) -> str:
    """`"right"`, `"wrong"`, `"undecided"` for an inconclusive verdict, or `"not judged"`.

    A right label of tampering at another place (`at_place`) is `"wrong place"`.
    """
    state = words.state_of(verdict)
    if state == "failed":
        return "not judged"
    if state == "inconclusive":
        return "undecided"
    if str(verdict.label) != str(truth.label):
        return "wrong"
    return "right" if truth.mask is None or at_place(verdict, truth) else WRONG_PLACE


def at_place(verdict: Verdict, truth: Truth) -> bool:
    """True if the marked place is the altered one: an overlap (IoU) of LEAST_OVERLAP, or the centre of the surest
    region inside the box around the true mask."""
    share = overlap(verdict, truth)
    if share is not None and share >= LEAST_OVERLAP:
        return True
    if truth.mask is None or not truth.mask.any() or not verdict.regions:
        return False
    x0, y0, x1, y1 = words.ranked(verdict)[0].box
    column, row = (x0 + x1) / 2, (y0 + y1) / 2
    rows, columns = truth.mask.nonzero()
    return bool(rows.min() <= row <= rows.max() + 1 and columns.min() <= column <= columns.max() + 1)


def overlap(verdict: Verdict, truth: Truth) -> float | None:
    """Intersection over union of the verdict's mask and the true one, in 0..1; None if either is missing."""
    if verdict.mask is None or truth.mask is None or verdict.mask.shape != truth.mask.shape:
        return None
    union = (verdict.mask | truth.mask).sum()
    return float((verdict.mask & truth.mask).sum() / union) if union else None


def card(
    verdict: Verdict,
    *,
    number: int,
    thumb: int,
    mask_file: str | None = None,
    truth: Truth | None = None,
    looks: Sequence[Look] = (),
) -> dict[str, Any]:
    """The values of one card, row or failure of the report; strings are printable, not yet escaped."""
    state = words.state_of(verdict)
    folder, file = words.split_source(printable(verdict.source))
    values = {
        "number": number,
        "state": state,
        "headline": words.headline(verdict),
        "name": words.NAMES[state],
        "lean": words.headline(verdict).removeprefix(words.NAMES[state]),
        "meaning": printable(words.meaning(verdict)),
        "sure": "" if state == "failed" or words.leans_nowhere(verdict) else percent(verdict.confidence),
        "folder": folder,
        "file": file,
        "code": (verdict.error or {}).get("code", ""),
        "truth": _truth(verdict, truth) if truth else None,
        "says": findings.values(verdict, number=number, side=min(drawings.SIDE, thumb // 2)),
    }
    if state != "failed":
        values |= _look(verdict, thumb) | _reasons(verdict)
        values["facts"] = list(_facts(verdict, mask_file))
        values["alt"] = _alt(verdict, file)
        values["looks"] = drawings.look_values(looks, drawings.LOOK_SIDE)
        values["contradiction"] = findings.contradiction(verdict)
    return values


def _alt(verdict: Verdict, file: str) -> str:
    where = ""
    if verdict.regions and verdict.width and verdict.height:
        places = dict.fromkeys(
            words.place(region.box, verdict.width, verdict.height) for region in verdict.regions
        )
        where = f"; marked: {', '.join(places)}"
    return f"{file}: {words.headline(verdict).lower()}{where}"


def _look(verdict: Verdict, thumb: int) -> dict[str, Any]:
    """The pictures of a card: thumbnail, heat layer, boxes, and the views that a reader can switch."""
    width, height = verdict.width or 1, verdict.height or 1
    if verdict.picture is None:
        return {"picture": None, "printed": None, "heat": None, "boxes": [], "views": []}
    from pixelsleuth.reporting import thumbnails

    small = thumbnails.thumbnail(verdict.picture.pixels, thumb)
    heatmap = verdict.heatmap
    if heatmap is None and verdict.mask is not None:
        heatmap = verdict.mask.astype("float32")
    heat = (
        thumbnails.png_uri(thumbnails.heat_layer(heatmap, finding=verdict.located))
        if heatmap is not None
        else None
    )
    boxes = _boxes([region.box for region in words.ranked(verdict)[:MOST_REGIONS]], width, height)
    suspected = str(verdict.label) == "tampered" and verdict.located
    names = VIEW_NAMES if verdict.located else VIEW_NAMES | {"heat": LOOK}
    views = [view for view, there in (("heat", heat), ("boxes", boxes and heat), ("plain", True)) if there]
    printed = None
    if suspected and heat:
        copy = small.copy()
        copy.thumbnail((PRINT_SIDE, PRINT_SIDE))
        printed = thumbnails.jpeg_uri(copy, quality=80)
    return {
        "picture": thumbnails.jpeg_uri(small),
        "shown": small.size,
        "wide": thumbnails.fills_column(small),
        "width": width,
        "height": height,
        "printed": printed,
        "heat": heat,
        "boxes": boxes,
        "views": [(view, names[view]) for view in views],
        "view": "heat" if suspected and heat else "plain",
        "scale": _scale(verdict.located),
        "legend": ("0%", "100% probability of tampering")
        if verdict.located
        else ("Where to look, no finding", "most"),
    }


def _boxes(boxes: list[tuple[int, int, int, int]], width: int, height: int) -> list[dict[str, float]]:
    """Boxes and the places of their numbered tags, in pixels of the full picture."""
    from pixelsleuth.core.overlay import place_tags

    side = round(0.042 * max(width, height), 1)
    tags = place_tags(boxes, [(side, side)] * len(boxes), (width, height))
    return [
        {"x": x0, "y": y0, "w": x1 - x0, "h": y1 - y0, "size": side, "tx": round(tx, 1), "ty": round(ty, 1)}
        for (x0, y0, x1, y1), (tx, ty) in zip(boxes, tags, strict=True)
    ]


@functools.cache
def _scale(finding: bool) -> list[tuple[str, float]]:
    from pixelsleuth.reporting.thumbnails import colour_table

    return [
        (f"#{r:02x}{g:02x}{b:02x}", round(a / 255, 2))
        for r, g, b, a in colour_table(24, finding=finding).tolist()
    ]


def _reasons(verdict: Verdict) -> dict[str, Any]:
    width, height = verdict.width or 1, verdict.height or 1
    regions = [
        {
            "place": words.place(region.box, width, height).capitalize(),
            "box": region.box,
            "score": percent(region.score),
        }
        for region in words.ranked(verdict)[:MOST_REGIONS]
    ]
    more = len(verdict.regions) - MOST_REGIONS
    share = words.altered_share(verdict)
    return {
        "bars": [
            {
                "state": "failed" if words.leans_nowhere(verdict) else str(label),
                "name": words.NAMES[str(label)],
                "width": round(100 * value, 1),
                "percent": percent(value),
            }
            for label, value in (verdict.probabilities or {}).items()
        ],
        "explanation": printable(verdict.explanation) if verdict.explanation else None,
        "panel": words.panel_lines(verdict),
        "bars_note": words.RAW_SCORES if words.leans_nowhere(verdict) else "",
        "trust": [printable(line) for line in words.trust(verdict)],
        "statements": [printable(statement) for statement in words.statements(verdict)],
        "regions": regions,
        "more_regions": f"and {words.count(more, 'smaller region')}" if more > 0 else None,
        "share": percent(share) if share is not None else None,
        "no_region": str(verdict.label) == "tampered" and not verdict.inconclusive,
        "warnings": [printable(warning) for warning in verdict.warnings],
    }


def _truth(verdict: Verdict, truth: Truth) -> dict[str, Any]:
    share = overlap(verdict, truth)
    return {
        "state": str(truth.label),
        "name": words.NAMES[str(truth.label)],
        "outcome": outcome(verdict, truth),
        "note": truth.note,
        "overlap": f"Overlap of the place found with the true one (IoU): {percent(share)}"
        if share is not None
        else None,
    }


USUAL = (("mode", "RGB"), ("bit_depth", "8"))
"""Metadata not shown, because nearly every picture has it."""


def _name(key: str) -> str:
    """`jpeg_quality` becomes `JPEG quality`."""
    words_ = key.replace("_", " ").split()
    upper = {"jpeg", "icc", "exif", "gps", "iso", "xmp"}
    text = " ".join(word.upper() if word in upper else word for word in words_)
    return text[:1].upper() + text[1:]


def _facts(verdict: Verdict, mask_file: str | None) -> list[tuple[str, str]]:
    metadata = dict(verdict.metadata)
    kind = metadata.pop("format", None) or (verdict.picture.format if verdict.picture else None)
    megapixels = (verdict.width or 0) * (verdict.height or 0) / 1e6
    size = f"{verdict.width} x {verdict.height} pixels" + (
        f", {megapixels:.1f} MP" if megapixels >= 0.95 else ""
    )
    facts = [("Size", size)]
    if kind:
        facts.append(("Format", kind))
    facts += [(_name(key), printable(value)) for key, value in metadata.items() if (key, value) not in USUAL]
    if mask_file:
        facts.append(("Mask", printable(mask_file)))
    facts.append(("Model", printable(words.model_name(verdict))))
    facts.append(("Judged in", f"{verdict.elapsed_ms / 1000:.2f} s"))
    if verdict.sha256:
        facts.append(("SHA-256", verdict.sha256))
    return facts
