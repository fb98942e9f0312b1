"""The environment stamp of a result: what may change a figure, and nothing that changes by itself (no date, no host
name).
"""

from __future__ import annotations

import os
import platform
from importlib import metadata

from pixelsleuth._version import __version__

PACKAGES = (
    *("numpy", "pillow", "opencv-python-headless", "onnxruntime", "torch", "transformers"),
    *("rouge-score", "sentence-transformers"),
)


def stamp() -> dict[str, str | int]:
    """Versions, interpreter, processor and the number of cores that this process may use."""
    found: dict[str, str | int] = {
        "pixelsleuth": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
