"""Stage 4: the edit itself, and the proof that something was edited.

Every edit leaves three masks: *requested* (the object), *given* (what was handed to the operation: moved or dilated),
*changed* (where the pixels differ by more than `changed_above`). The truth of the data set is *given*, widened by the
soft border of a feathered paste. An edit that hardly changes anything, or came back black from a safety checker, is
tried again with another seed, and given up after `attempts`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from pixelsleuth.data.equalise import random_for
from pixelsleuth.errors import Rejected
from pixelsleuth.forge import edits
from pixelsleuth.forge.edits import Random, bounding_box, free_shape
from pixelsleuth.forge.locating import drawn, load_mask, png
from pixelsleuth.forge.sources import CARRIED, Context, photograph, photographs
from pixelsleuth.forge.stages import Row, write_file


@dataclass
class Edited:
    """An edited picture, the mask that the operation was given, and the operation's part of the record."""

    pixels: np.ndarray
    given: np.ndarray
    traces: list[str]
    record: dict[str, Any] = field(default_factory=dict)


def edit(row: Row, context: Context) -> list[Row]:
    """Make one forgery: writes picture and masks, adds them and the full record. Raises Rejected."""
    config = context.config.edit
    pixels, requested = photograph(row, context), load_mask(context, row["mask"])
    why = ""
    for attempt in range(config.attempts):
        random = random_for(f"edit/{row['id']}/{attempt}", context.config.seed)
        if row["mode"] == "operation":
            made = _classical(row, pixels, requested, random, context)
        else:
            made = _inpainted(row, pixels, requested, attempt, context)
        changed = changed_pixels(pixels, made.pixels, config.changed_above)
        why = _fault(made, changed, context)
        if not why:
            return [_keep(row, made, changed, attempt, context), *_control(row, pixels, context)]
    raise Rejected(f"{row['id']}: given up after {config.attempts} attempts, because {why}.")


def changed_pixels(before: np.ndarray, after: np.ndarray, above: int) -> np.ndarray:
    """(H, W) uint8 0/255: where any channel differs by more than `above` levels."""
    apart = cv2.absdiff(before, after)
    # Three times as fast as max(axis=2).
    most = np.maximum(np.maximum(apart[..., 0], apart[..., 1]), apart[..., 2])
    return ((most > above) * np.uint8(255)).astype(np.uint8)


def paste_back(
    before: np.ndarray, after: np.ndarray, given: np.ndarray, how: str, feather: float
) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, mask of what may differ): the original pixels outside the mask, or everything where `how` is none.

    `hard` cuts at the mask. `feather` blends over `feather` pixels outside it, and the mask grows by that much. `none`
    leaves every pixel to the model's decoder; the mask stays the region that was asked for.
    """
    if how == "none":
        return after, given
    if how == "hard":
        return np.where(given[..., None] > 127, after, before), given
    radius = max(1, round(feather))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    wide = np.asarray(cv2.dilate(given, kernel), dtype=np.uint8)
    weight = cv2.GaussianBlur(wide, (0, 0), max(radius / 2, 0.5)).astype(np.float32) / 255
    weight = np.where(wide > 0, np.maximum(weight, given / 255), 0)[..., None]
    return (before * (1 - weight) + after * weight + 0.5).astype(np.uint8), wide


def _fault(made: Edited, changed: np.ndarray, context: Context) -> str:
    """Why an edit is not worth keeping; empty where it is."""
    config, masks = context.config.edit, context.config.masks
    if int(made.pixels.max()) <= 2:
        return "the picture came back black, as from a safety checker"
    area = float((made.given > 0).mean())
    if not masks.smallest <= area <= masks.largest:
        return f"the edited region covers {area:.1%} of the picture"
    share = float((changed[made.given > 0] > 0).mean())
    if share < config.least_changed:
        return f"only {share:.0%} of the region changed"
    return ""


def _keep(row: Row, made: Edited, changed: np.ndarray, attempt: int, context: Context) -> Row:
    name = row["id"]
    files = {
        "file": f"pictures/{name}.png",
        "given": f"masks/{name}.given.png",
        "changed": f"masks/{name}.changed.png",
    }
    for key, data in (("file", made.pixels), ("given", made.given), ("changed", changed)):
        write_file(context.folder / files[key], png(data))
    inside = made.given > 0
    return {
        **row,
        "label": "tampered",
        "file": files["file"],
        "masks": {"requested": row["mask"], "given": files["given"], "changed": files["changed"]},
        "changed_share": round(float((changed[inside] > 0).mean()), 4),
        "changed_outside": round(float((changed[~inside] > 0).mean()), 6) if not inside.all() else 0.0,
        "traces": made.traces,
        "attempt": attempt,
        **made.record,
    }


def _classical(row: Row, pixels: np.ndarray, mask: np.ndarray, random: Random, context: Context) -> Edited:
    operation, record = row["operation"], {"paste_back": "by the operation", "generator": ""}
    if operation == "splice":
        donor_row, donor, region = _donor(row, random, context)
        made = edits.splice(pixels, donor, region, random)
        record |= {"donor": donor_row["id"], "donor_sha256": donor_row["sha256"]}
    elif operation == "copy-move":
        made = edits.copy_move(pixels, mask, random)
    elif operation == "removal":
        made = edits.removal(pixels, mask, random)
    else:
        made = edits.local_edit(pixels, mask, random)
    # A soft border reaches a little beyond the region: what really changed there belongs to the truth.
    near = cv2.dilate(made.mask, np.ones((25, 25), np.uint8))
    border = changed_pixels(pixels, made.pixels, context.config.edit.changed_above) & near
    given = np.asarray(made.mask | border, dtype=np.uint8)
    return Edited(made.pixels, given, made.traces, record)


def _donor(row: Row, random: Random, context: Context) -> tuple[Row, np.ndarray, np.ndarray]:
    """A photograph of the same split, of another group where there is one; its pixels, and a region of it."""
    same_split = photographs(context.folder)[row["split"]]
    others = [other for other in same_split if other["group"] != row["group"]] or same_split
    donor = others[int(random.integers(len(others)))]
    pixels = photograph(donor, context)
    outlines = donor.get("objects") or []
    if outlines and context.config.size == "native":
        region = drawn(outlines[int(random.integers(len(outlines)))], *pixels.shape[:2])
        if bounding_box(region) is not None and (region > 0).mean() > context.config.masks.smallest:
            return donor, pixels, region
    return donor, pixels, free_shape(pixels.shape[0], pixels.shape[1], random)


def _inpainted(row: Row, pixels: np.ndarray, mask: np.ndarray, attempt: int, context: Context) -> Edited:
    from pixelsleuth.forge.diffusion import inpaint

    config = context.config.edit
    number = int(random_for(f"inpaint/{row['id']}/{attempt}", context.config.seed).integers(2**31))
    made, given, record = inpaint(pixels, mask, row["prompt"], number, config, context.config.device)
    pasted, truth = paste_back(pixels, made, given, config.paste_back, config.feather)
    record |= {"paste_back": config.paste_back, "inpaint_seed": number}
    if int(made.max()) <= 2:
        pasted = made  # black: reported as such, not pasted into the photograph
    return Edited(pasted, truth, ["generator"], record)


def _control(row: Row, pixels: np.ndarray, context: Context) -> list[Row]:
    """The photograph itself through the model's autoencoder, unedited: shows whether a detector sees the edit or the
    decoder. One for each photograph."""
    if not context.config.edit.controls or row["mode"] == "operation" or not row["id"].endswith("-0"):
        return []
    from pixelsleuth.forge.diffusion import round_trip

    name = f"{row['photograph']}-vae"
    write_file(
        context.folder / f"pictures/{name}.png",
        png(round_trip(pixels, context.config.edit, context.config.device)),
    )
    record = {
        "label": "real",
        "control": "vae",
        "file": f"pictures/{name}.png",
        "generator": context.config.edit.model,
    }
    return [{**{key: row[key] for key in CARRIED if key in row}, "id": name, **record}]
