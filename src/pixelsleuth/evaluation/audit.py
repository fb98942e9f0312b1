"""The shortcut audit of the data that were evaluated: what headers, texts and thumbnails alone know of the labels."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from pixelsleuth.core.errors import PixelSleuthError
from pixelsleuth.evaluation.pictures import Pictures

NEEDED = {"cv2": "opencv-python-headless", "sklearn": "scikit-learn"}


def audit_of(pictures: Pictures, *, seed: int = 0) -> dict[str, Any]:
    """Headers, text and thumbnails with their AUROC (`data.audit`), or `{"skipped": why}`: never hidden."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        return {"skipped": f"The shortcut audit needs {', '.join(missing)}, which is not installed."}
    from pixelsleuth.data.audit.measure import audit

    try:
        return audit((sample for _, sample in pictures), seed=seed)
    except (PixelSleuthError, ValueError) as error:
        return {"skipped": f"The shortcut audit failed: {error}"}
