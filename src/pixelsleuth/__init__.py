"""Is this picture real, wholly generated, or tampered with? Where? Why?

    import pixelsleuth as ps
    detector = ps.load("compact")
    verdict = detector.check("photo.jpg")
    print(verdict.label, verdict.probabilities, verdict.regions, verdict.explanation)

Names are resolved on first use (PEP 562), so that `import pixelsleuth` costs nothing.

>>> import pixelsleuth as ps
>>> ps.Label("tampered") is ps.Label.TAMPERED
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixelsleuth._version import __version__

if TYPE_CHECKING:
    from pixelsleuth.core.bounds import Bounds
    from pixelsleuth.core.detector import Capability, Detector
    from pixelsleuth.core.region import Region
    from pixelsleuth.core.verdict import Label, Verdict
    from pixelsleuth.errors import PictureError, PixelSleuthError
    from pixelsleuth.models.kept import check
    from pixelsleuth.models.registry import load
    from pixelsleuth.models.remote.client import Client
    from pixelsleuth.pictures.images import Picture, find_pictures, open_picture

_HOMES = {
    "Bounds": "core.bounds",
    "Capability": "core.detector",
    "Client": "models.remote.client",
    "Detector": "core.detector",
    "PictureError": "errors",
    "PixelSleuthError": "errors",
    "Picture": "pictures.images",
    "find_pictures": "pictures.images",
    "open_picture": "pictures.images",
    "check": "models.kept",
    "load": "models.registry",
    "Label": "core.verdict",
    "Region": "core.region",
    "Verdict": "core.verdict",
}

__all__ = [
    "Bounds",
    "Capability",
    "Client",
    "Detector",
    "Label",
    "Picture",
    "PictureError",
    "PixelSleuthError",
    "Region",
    "Verdict",
    "__version__",
    "check",
    "find_pictures",
    "load",
    "open_picture",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pixelsleuth' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"pixelsleuth.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
