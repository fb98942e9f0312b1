"""The shortcut audit of the data that were evaluated, by `pixelsleuth.data.audit`; its absence is told, never
hidden.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pixelsleuth.core.errors import PixelSleuthError
from pixelsleuth.evaluation.pictures import Pictures


def audit_of(pictures: Pictures, *, seed: int = 0) -> dict[str, Any]:
    """What `data.audit.audit(samples)` says, or `{"skipped": why}`."""
    try:
        module = import_module("pixelsleuth.data.audit")
    except ModuleNotFoundError as error:
        missing = error.name or "pixelsleuth.data.audit"
        return {"skipped": f"The shortcut audit needs {missing}, which is not installed."}
    function = getattr(module, "audit", None)
    if function is None:
        return {"skipped": "This version of pixelsleuth.data.audit has no function audit."}
    try:
        found = function([sample for _, sample in pictures], seed=seed)
        told: dict[str, Any] = found.to_dict() if hasattr(found, "to_dict") else dict(found)
        return told
    except (PixelSleuthError, TypeError, ValueError) as error:
        return {"skipped": f"The shortcut audit failed: {error}"}
