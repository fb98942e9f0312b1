"""Load a detector by its name, by a checkpoint, by an endpoint, or by "module:callable".

What there is stands in `models.catalogue`; nothing is imported before it is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelsleuth.core.content import ensure_regular
from pixelsleuth.core.detector import Detector
from pixelsleuth.core.names import nearest
from pixelsleuth.errors import UnknownModel, UsageError
from pixelsleuth.models import store
from pixelsleuth.models.catalogue import (
    CHECKPOINTS,
    HUB,
    ModelSpec,
    addressed,
    kinds_of,
    shipped_specs,
    spec_of,
)
from pixelsleuth.models.factories import facts_of_class, import_factory, make
from pixelsleuth.models.facts import FACTS, Facts

EXPORTED = "compact.json"
CONVERTED = ("detector.json", "model.onnx")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "int8", "int4")

_SPECS: dict[str, ModelSpec] = {}
"""Detectors that were registered, by name; they go before those that ship."""


def register(spec: ModelSpec) -> None:
    """Add a detector, or replace the one of the same name."""
    if ":" not in spec.factory:
        raise ValueError(f"factory must read 'module:callable', got {spec.factory!r}")
    _SPECS[spec.name] = spec


def unregister(name: str) -> None:
    """Remove a registered detector (tests, notebooks); an unknown name is no error."""
    _SPECS.pop(name, None)


def specs() -> list[ModelSpec]:
    """The detectors that ship, then those that were registered, in that order."""
    return list(({spec.name: spec for spec in shipped_specs()} | _SPECS).values())


def spec_named(name: str) -> ModelSpec | None:
    """The detector that was registered under a name, or ships under it; only its own facts are read."""
    return _SPECS.get(name) or spec_of(name)


def load(
    name: str | os.PathLike[str] = "auto",
    device: str = "auto",
    *,
    precision: str = "auto",
    weights: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Detector:
    """Return a detector.

    `name` is a detector's name (`specs()` lists them), a checkpoint (a folder, or a hub id, owner/name), a PixelSleuth
    service (`http://HOST`, `http://HOST#name`), an endpoint (`openai:URL#name`), or "module:callable". `precision` is
    that of the weights: "auto" (bf16 on a GPU, fp32 on a CPU), "fp32", "bf16", "int8" or "int4". `weights` (a file or a
    folder) and `options` are for baselines alone, see `models.facts`.

    Raises:
        UnknownModel: no such detector (with a suggestion). MissingExtra: a package is not installed. UsageError: no
            such device or precision; weights that are missing, damaged or too large.
    """
    if not isinstance(name, str | os.PathLike):
        raise UsageError(
            f'A model is named by a text or a path, not by {name!r}; for example load("compact").'
        )
    name = os.fsdecode(name)
    for what, value, known in (("device", device, DEVICES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise UsageError(f"Unknown {what} {value!r}; choose one of {', '.join(known)}.")
    spec = spec_named(name)
    for place in (None if spec is not None else name, weights):
        if place is not None and os.path.exists(place):
            ensure_regular(place)
    facts = spec.facts if spec is not None else facts_of_class(name)
    switches: dict[str, Any] = {"device": device} | ({"precision": precision} if precision != "auto" else {})
    if facts is not None:
        return _load_baseline(name, facts, spec, weights, options or {}, switches)
    if weights is not None or options:
        if spec is None and ":" not in name and not os.path.exists(name):
            raise UnknownModel(_unknown(name))
        raise UsageError(f"The model {name!r} takes no --weights and no --option: these are for baselines.")
    if spec is None:
        return _load_unlisted(name, switches)
    entry = store.ready(name) if spec.origins else None
    _ensure_precision(spec, precision)
    arguments = spec.arguments if entry is None else (str(entry.folder), *spec.arguments[1:])
    return make(spec.factory, spec, *arguments, **switches)


def _load_baseline(
    name: str,
    facts: Facts,
    spec: ModelSpec | None,
    weights: str | None,
    options: Mapping[str, str],
    switches: Mapping[str, Any],
) -> Detector:
    """A baseline, through ONNX Runtime where that form is ready, else through torch; `spec` None: somebody's own."""
    precision = switches.get("precision", "auto")
    if spec is not None and precision in ("auto", "fp32"):
        light = _light(facts, spec, switches["device"], weights, options, torch=spec.installed)
        if light is not None:
            return light
    choices = {"weights": weights_at(facts, weights, spec), "options": facts.variant(options)}
    if spec is None:
        return make("pixelsleuth.models.baseline:load", None, name, **switches, **choices)
    _ensure_precision(spec, precision)
    return make(spec.factory, spec, *spec.arguments, **switches, **choices)


def _load_unlisted(name: str, switches: Mapping[str, Any]) -> Detector:
    """The detector of an address, a folder, a hub id, or somebody's own module. Raises UnknownModel."""
    remote = addressed(name)
    if remote is not None:
        return make(remote.factory, remote, name, **switches)
    device = switches["device"]
    if all(os.path.isfile(os.path.join(name, file)) for file in CONVERTED):
        return make("pixelsleuth.models.light.detector:load_folder", None, name, device=device)
    if os.path.isfile(os.path.join(name, EXPORTED)):
        return make("pixelsleuth.compact.detector:load_folder", None, name, device=device)
    factory = _checkpoint(name)
    if factory is not None:
        return make(factory, HUB, name, **switches)
    if ":" in name and not os.path.exists(name):
        return make(name, None, **switches)
    raise UnknownModel(_unknown(name))


def _ensure_precision(spec: ModelSpec, precision: str) -> None:
    if precision != "auto" and precision not in spec.precisions:
        raise UsageError(f"The model {spec.name!r} has one precision: leave --precision out.")


def load_light_first(name: str, device: str = "auto") -> Detector:
    """A baseline with the weights in the store, without torch where that is possible: a panel's members are loaded and
    measured in this form. Raises as `load` does."""
    spec = spec_named(name)
    if spec is not None and spec.facts is not None and device != "cuda":
        light = _light(spec.facts, spec, device, None, {}, torch=False)
        if light is not None:
            return light
    return load(name, device)


def _light(
    facts: Facts,
    spec: ModelSpec,
    device: str,
    weights: str | None,
    options: Mapping[str, str],
    *,
    torch: bool,
) -> Detector | None:
    """The baseline through ONNX Runtime; None where torch is to run it (`torch`) or where there is no such form."""
    if not facts.light and not (store.folder(facts.name) / "onnx").is_dir():
        return None  # nothing is imported to find that out
    choose: Callable[..., Detector | None] = import_factory("pixelsleuth.models.light.detector:light")
    return choose(
        facts,
        device,
        options,
        own_weights=weights is not None,
        torch=torch,
        weights=lambda: weights_at(facts, weights, spec),
    )


def weights_at(facts: Facts, weights: str | None, spec: ModelSpec | None) -> str:
    """The file, folder or hub id of a baseline's weights: `weights`, else what the store has, else the hub id that the
    facts name. Raises UsageError where there is none."""
    expected = facts.files[0] if len(facts.files) == 1 else f"a folder with {', '.join(facts.files)}"
    if weights is not None:
        if not os.path.exists(weights) and "/" not in facts.files[0]:
            raise UsageError(
                f"There is nothing at {weights}: name {facts.title}'s {facts.files[0]} with --weights."
            )
        return weights
    entry = store.ready(spec.name) if spec is not None and spec.origins else None
    if entry is not None:
        return str(entry.weights)
    if "/" in facts.files[0]:
        return facts.files[0]
    if spec is not None and spec.origins:
        raise UsageError(
            f"{facts.title} needs its weights: run `pixelsleuth models get {spec.name}`, or name them with "
            f"--weights ({expected})."
        )
    raise UsageError(f"{facts.title} needs --weights ({expected}); where to get them: {facts.where}.")


def _checkpoint(name: str) -> str | None:
    """The factory for a checkpoint folder, by what its config.json says it is, or for a hub id; else None."""
    path = os.path.join(name, "config.json")
    if not os.path.isfile(path):
        is_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not os.path.exists(name)
        return HUB.factory if is_hub_id and ":" not in name and not name.endswith("/") else None
    return next((CHECKPOINTS[kind] for kind in _kinds(name) if kind in CHECKPOINTS), None)


def _kinds(folder: str) -> list[str]:
    """The kinds in a folder's config.json, see `kinds_of`; none without that file. Raises UsageError."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as handle:
            return kinds_of(json.load(handle))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError, TypeError):
        raise UsageError(f"{path} is damaged: copy or download the checkpoint again.") from None


def _unknown(name: str) -> str:
    names = [spec.name for spec in specs()]
    known = f"known models: {', '.join(names)}"
    if os.path.isdir(name):
        if _kinds(name) == ["pixelsleuth_compact"]:
            return (
                f"The folder {name!r} holds a checkpoint; turn it into a detector with `pixelsleuth export`."
            )
        return f"The folder {name!r} holds no model that this version can load; {known}."
    if os.sep in name and not os.path.exists(name):
        return f"There is no folder {name!r}, and no model of that name; `pixelsleuth models` lists those there are."
    close = nearest(name, names)
    if close:
        return f"There is no model {name!r}; did you mean {close!r}? ({known})"
    return f"There is no model {name!r}; {known}."


def weights_of(models: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    """The weights of each model, from --weights: FILE where there is one model; where there are several, NAME=FILE, or
    a folder that holds NAME/ or the expected file of each.

    >>> weights_of(["npr"], ["npr.pth"])
    {'npr': 'npr.pth'}
    >>> weights_of(["npr", "rine"], ["rine=r.pth", "npr=n.pth"])
    {'rine': 'r.pth', 'npr': 'n.pth'}
    """
    places: dict[str, str] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if equals and name in models:
            places[name] = file
        elif len(models) == 1:
            places[models[0]] = text
        elif Path(text).is_dir():
            places = _weights_inside(Path(text), models) | places
        else:
            missing = "" if Path(text).exists() else f"there is nothing at {text}; "
            raise UsageError(
                f"--weights {text}: {missing}with several models name a folder, or say whose it is, as "
                f"{models[0]}={text}."
            )
    return places


def _weights_inside(folder: Path, models: Sequence[str]) -> dict[str, str]:
    """The weights of each model that a folder holds."""
    places = {}
    for name in models:
        files = FACTS[name].files if name in FACTS else ()
        candidates = [
            path for path in (folder / name, *(folder / file for file in files[:1])) if path.exists()
        ]
        if candidates:
            single = candidates[0] / files[0] if len(files) == 1 else candidates[0]
            places[name] = str(single if candidates[0].is_dir() and single.is_file() else candidates[0])
    return places


def options_of(models: Sequence[str], texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """The options of each model, from --option: KEY=VALUE for all models, NAME:KEY=VALUE for one.

    >>> options_of(["npr", "rine"], ["size=native", "rine:size=224"])
    {'npr': {'size': 'native'}, 'rine': {'size': '224'}}
    """
    options: dict[str, dict[str, str]] = {name: {} for name in models}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {text}: write KEY=VALUE.")
        name, _, own_key = key.partition(":")
        if own_key and name in models:
            options[name][own_key] = value
        else:
            for model in models:
                options[model][key] = value
    return options
