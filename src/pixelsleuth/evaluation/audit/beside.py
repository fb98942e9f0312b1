"""The shortcut audit of the data that were evaluated, by `pixelsleuth.data.audit`; what it cannot do is told, never
hidden.

`pixelsleuth audit` looks closer: at every split, and at what equalising leaves.
"""

from __future__ import annotations

from typing import Any

from pixelsleuth.errors import PixelSleuthError
from pixelsleuth.evaluation.pictures import Pictures

FEWEST = 30
"""Pictures below which a classifier of headers would measure chance."""


def audit_of(pictures: Pictures, *, seed: int = 0) -> dict[str, Any]:
    """`{"headers", "thumbnails", "text"}`: how much of the label each gives away (`evaluation.audit.leak`), or
    `{"skipped": why}`.

    Files as they are, before any equalising.
    """
    if len(pictures) < FEWEST:
        return {"skipped": f"The shortcut audit needs at least {FEWEST} pictures."}
    try:
        from pixelsleuth.evaluation.audit import measure

        looked = measure.look(sample for _, sample in pictures)
        return {**measure.three(looked, seed=seed), "skipped_pictures": len(looked.skipped)}
    except ModuleNotFoundError as error:
        return {"skipped": f"The shortcut audit needs {error.name}, which the extra eval brings."}
    except (PixelSleuthError, ValueError) as error:
        return {"skipped": f"The shortcut audit failed: {error}"}
