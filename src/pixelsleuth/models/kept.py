"""Judge pictures by one call, with a detector that stays loaded: `pixelsleuth.check`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, overload

from pixelsleuth.models.registry import load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixelsleuth.core.detector import Detector, Source
    from pixelsleuth.core.verdict import Verdict


@functools.lru_cache(maxsize=1)
def _cached(name: str, device: str) -> Detector:
    return load(name, device)


@overload
def check(  # type: ignore[overload-overlap]  # as with Detector.check
    source: Source, *, model: str = ..., device: str = ..., explain: bool = ...
) -> Verdict: ...


@overload
def check(
    source: Iterable[Source], *, model: str = ..., device: str = ..., explain: bool = ...
) -> list[Verdict]: ...


def check(
    source: Source | Iterable[Source], *, model: str = "auto", device: str = "auto", explain: bool = True
) -> Verdict | list[Verdict]:
    """Judge a picture, or a list of them, with a detector that stays loaded (see `Detector.check`)."""
    return _cached(model, device).check(source, explain=explain)
