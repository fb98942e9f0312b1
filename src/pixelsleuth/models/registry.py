"""Detectors by name, imported only when asked for: a registry entry is a string, "module:callable"."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.content import ensure_regular
from pixelsleuth.core.detector import Detector
from pixelsleuth.core.names import nearest
from pixelsleuth.errors import MissingExtra, UnknownModel, UsageError
from pixelsleuth.models import store
from pixelsleuth.models.catalogue import CHECKPOINTS, HUB, SERVED, SPECS, ModelSpec, importable
from pixelsleuth.models.choices import chosen
from pixelsleuth.models.factories import ensure_detector, ensure_makes_detector
from pixelsleuth.models.facts import Facts

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Source
    from pixelsleuth.core.verdict import Verdict

EXPORTED = "compact.json"
CONVERTED = ("detector.json", "model.onnx")
LIGHT = "pixelsleuth.models.light"
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "int8", "int4")


_SPECS: dict[str, ModelSpec] = {}


def register(spec: ModelSpec) -> None:
    """Add a detector, or replace the one of the same name."""
    if ":" not in spec.factory:
        raise ValueError(f"factory must read 'module:callable', got {spec.factory!r}")
    _SPECS[spec.name] = spec


def unregister(name: str) -> None:
    """Take a detector out again (tests, notebooks); an unknown name is no error."""
    _SPECS.pop(name, None)


def specs() -> list[ModelSpec]:
    """Return the known detectors in the order in which they were registered."""
    return list(_SPECS.values())


def load(
    name: str | os.PathLike[str] = "auto",
    device: str = "auto",
    *,
    precision: str = "auto",
    weights: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Detector:
    """Return the detector called `name`, that a checkpoint (a folder or a hub id, owner/name) holds, that an endpoint
    serves (`openai:URL#name`), or that "module:callable" makes.

    `precision` is that of the weights: "auto" (bf16 on a GPU, fp32 on a CPU), "fp32", "bf16", "int8" or "int4".
    `weights` (a file or a folder) and `options` are for baselines alone, see `models.facts`.

    Raises UnknownModel (with a suggestion), MissingExtra, or UsageError for an unknown device or precision, and for
    weights that are missing, damaged or too large.
    """
    if not isinstance(name, str | os.PathLike):
        raise UsageError(
            f'A model is named by a text or a path, not by {name!r}; for example load("compact").'
        )
    name = os.fsdecode(name)
    for what, value, known in (("device", device, DEVICES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise UsageError(f"Unknown {what} {value!r}; choose one of {', '.join(known)}.")
    switches: dict[str, Any] = {"device": device} | ({"precision": precision} if precision != "auto" else {})
    spec = _SPECS.get(name)
    for place in (None if spec is not None else name, weights):
        if place is not None and os.path.exists(place):
            ensure_regular(place)
    facts = spec.facts if spec is not None else _facts_of(name)
    if facts is not None and spec is not None and precision in ("auto", "fp32"):
        light = _light(facts, spec, device, weights, options or {}, torch=spec.installed)
        if light is not None:
            return light
    if facts is not None:
        switches |= {"weights": weights_at(facts, weights, spec), "options": chosen(facts, options or {})}
    elif weights is not None or options:
        if spec is None and ":" not in name and not os.path.exists(name):
            raise UnknownModel(_unknown(name))
        raise UsageError(f"The model {name!r} takes no --weights and no --option: these are for baselines.")
    entry = store.ready(name) if spec is not None and spec.origins and facts is None else None
    if spec is not None:
        if precision != "auto" and precision not in spec.precisions:
            raise UsageError(f"The model {name!r} has one precision: leave --precision out.")
        arguments = spec.arguments if entry is None else (str(entry.folder), *spec.arguments[1:])
        return _make(spec.factory, spec, *arguments, **switches)
    if name.startswith("openai:"):
        return _make(SERVED.factory, SERVED, name, **switches)
    if all(os.path.isfile(os.path.join(name, file)) for file in CONVERTED):
        return _make(f"{LIGHT}.detector:load_folder", None, name, device=device)
    if os.path.isfile(os.path.join(name, EXPORTED)):
        return _make("pixelsleuth.compact.detector:load_folder", None, name, device=device)
    factory = _checkpoint(name)
    if factory is not None:
        return _make(factory, HUB, name, **switches)
    if facts is not None:
        return _make("pixelsleuth.models.baseline:load", None, name, **switches)
    if ":" in name and not os.path.exists(name):
        return _make(name, None, **switches)
    raise UnknownModel(_unknown(name))


def _facts_of(name: str) -> Facts | None:
    """What is known of somebody's own baseline, "module:Class"; None for all else, and for what cannot be imported."""
    module, mark, attribute = name.partition(":")
    if not mark or not all(part.isidentifier() for part in [*module.split("."), attribute]):
        return None
    try:
        facts = getattr(getattr(import_module(module), attribute, None), "facts", None)
    except Exception:  # whatever a module raises when it is imported is told where it is called for
        return None
    return facts if isinstance(facts, Facts) else None


def load_light_first(name: str, device: str = "auto") -> Detector:
    """A baseline with the weights in the store, without torch wherever that is possible: what a panel is made of, and
    what its errors are measured on. Raises as `load` does."""
    spec = _SPECS.get(name)
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
    """The baseline through ONNX Runtime; None: torch is to run it, or no such form is there."""
    if not facts.light and not (store.folder(facts.name) / "onnx").is_dir():
        return None  # nothing is imported to find that out
    choose: Callable[..., Detector | None] = _factory(f"{LIGHT}.choice:light", spec)
    return choose(
        facts,
        device,
        options,
        own_weights=weights is not None,
        torch=torch,
        weights=lambda: weights_at(facts, weights, spec),
    )


def weights_at(facts: Facts, given: str | None, spec: ModelSpec | None) -> str:
    """The file, folder or hub id; it may be left out where the store has the weights, and a hub id always."""
    if given is None:
        entry = store.ready(spec.name) if spec is not None and spec.origins else None
        if entry is not None:
            return str(entry.weights)
        if "/" in facts.files[0]:
            return facts.files[0]
        what = facts.files[0] if len(facts.files) == 1 else f"a folder with {', '.join(facts.files)}"
        if spec is not None and spec.origins:
            raise UsageError(
                f"{facts.title} needs its weights: run `pixelsleuth models get {spec.name}`, or name them with "
                f"--weights ({what})."
            )
        raise UsageError(f"{facts.title} needs --weights ({what}); where to get them: {facts.where}.")
    if not os.path.exists(given) and "/" not in facts.files[0]:
        raise UsageError(
            f"There is nothing at {given}: name {facts.title}'s {facts.files[0]} with --weights."
        )
    return given


def _checkpoint(name: str) -> str | None:
    """The factory for a checkpoint folder, by what its config.json says it is, or for a hub id; else None."""
    path = os.path.join(name, "config.json")
    if not os.path.isfile(path):
        is_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not os.path.exists(name)
        return HUB.factory if is_hub_id and ":" not in name and not name.endswith("/") else None
    return next((CHECKPOINTS[kind] for kind in _kinds(name) if kind in CHECKPOINTS), None)


def _kinds(folder: str) -> list[str]:
    """What a folder's config.json says that it is: its model_type and its architectures; nothing without one."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as handle:
            config = json.load(handle)
        found = [config.get("pixelsleuth"), config.get("model_type"), *(config.get("architectures") or [])]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError, TypeError):
        raise UsageError(f"{path} is damaged: copy or download the checkpoint again.") from None
    return [kind for kind in found if isinstance(kind, str)]


def _make(target: str, spec: ModelSpec | None, *arguments: str, **options: Any) -> Detector:
    """Import and call a factory; what it lacks on this machine is told in one sentence."""
    if spec is not None:
        missing = next((package for package in spec.packages if not importable(package)), None)
        if missing is not None and spec.extra is not None:
            raise MissingExtra(missing, spec.extra)
    name = spec.name if spec is not None else arguments[0] if arguments else target
    own = spec is None and not arguments  # "module:callable" as somebody wrote it
    try:
        factory = _factory(target, spec)
        if own:
            ensure_makes_detector(factory, target)
        made = factory(*arguments, **options)
        if own:
            ensure_detector(made, target)
        return made
    except ModuleNotFoundError as error:
        raise _missing(error, target, spec) from error
    except ImportError as error:
        raise UsageError(f"The model {name!r} cannot be imported ({error}); install it again.") from error
    except OSError as error:
        raise UsageError(
            f"The model {name!r} cannot be read ({error.strerror or error}); check that its files are there."
        ) from error


def _missing(error: ModuleNotFoundError, target: str, spec: ModelSpec | None) -> UsageError:
    module, missing = target.partition(":")[0], error.name or ""
    if missing and f"{module}.".startswith(f"{missing}."):
        return UnknownModel(f"There is no model {target!r}: {error}.")
    package = missing.partition(".")[0]
    if spec is None and not module.startswith("pixelsleuth."):
        return UsageError(f"The model {target!r} needs {package}, which is not installed; install it.")
    return MissingExtra(package, spec.extra if spec is not None else None)


def _factory(target: str, spec: ModelSpec | None) -> Callable[..., Detector]:
    module_name, _, attribute = target.partition(":")
    try:
        factory: Any = getattr(import_module(module_name), attribute)
    except (AttributeError, ValueError) as error:
        if spec is None:
            raise UnknownModel(f"There is no model {target!r}: {error}.") from error
        raise
    except (ImportError, OSError):
        raise
    except Exception as error:
        if spec is not None:
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"The module of {target!r} fails when it is imported ({reason}); mend it."
        ) from error
    return factory


def _unknown(name: str) -> str:
    names = list(_SPECS)
    known = f"known models: {', '.join(names)}"
    if os.path.isdir(name):
        if _kinds(name) == ["pixelsleuth_compact"]:
            return (
                f"The folder {name!r} holds a checkpoint; turn it into a detector with `pixelsleuth export`."
            )
        return f"The folder {name!r} holds no model that this version can load; {known}."
    close = nearest(name, names)
    if close:
        return f"There is no model {name!r}; did you mean {close!r}? ({known})"
    return f"There is no model {name!r}; {known}."


@functools.lru_cache(maxsize=1)
def _cached(name: str, device: str) -> Detector:
    return load(name, device)


def check(
    source: Source, *, model: str = "auto", device: str = "auto", explain: bool = True
) -> Verdict | list[Verdict]:
    """Judge a picture, or a list of them, with a detector that stays loaded (see `Detector.check`)."""
    return _cached(model, device).check(source, explain=explain)


for _spec in SPECS:
    register(_spec)
