"""Whether a baseline runs through ONNX Runtime, and in which form. `models.registry` asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pixelsleuth.models import store
from pixelsleuth.models.choices import chosen
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.light.detector import LightDetector, load_folder, load_published
from pixelsleuth.models.light.form import SETTINGS, read, shipped

CONVERTED = "onnx"
"""Inside a baseline's folder of the store: its converted form."""


def light(
    facts: Facts,
    device: str,
    options: Mapping[str, str],
    *,
    own_weights: bool,
    torch: bool,
    weights: Callable[[], str],
) -> LightDetector | None:
    """The baseline in its converted form, where the store has it and no weights are named (`own_weights`); or, where
    torch is not to be used, the published file in the graph that ships. None: neither, so torch runs it.

    `weights` gives the published file's place. Raises UsageError.
    """
    converted = store.folder(facts.name) / CONVERTED
    usable = not own_weights and device != "cuda" and (converted / SETTINGS).is_file()
    if usable and (not options or read(converted / SETTINGS).options == chosen(facts, options)):
        return load_folder(str(converted), device)
    variant = chosen(facts, options)
    if torch or not facts.light or shipped(facts.name, variant) is None:
        return None
    return load_published(facts.name, device, weights=weights(), options=variant)
