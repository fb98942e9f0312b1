"""Detectors by name, imported only when asked for: a registry entry is a string, "module:callable"."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.errors import MissingExtra, UnknownModel, UsageError

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Source
    from pixelsleuth.core.verdict import Verdict

EXPORTED = "compact.json"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a detector without loading it.

    `factory` is "module:callable"; the callable takes `device` ("auto", "cpu" or "cuda") and returns a
    Detector. `parameters` counts weights; `download_bytes` is what the first use fetches (0: it ships inside
    the package); `extra` is the pip extra it needs, `packages` the modules that tell whether that extra is
    installed.
    """

    name: str
    factory: str
    summary: str
    parameters: int | None = None
    download_bytes: int | None = None
    extra: str | None = None
    capabilities: frozenset[Capability] = frozenset({Capability.DETECT})
    licence: str | None = None
    packages: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """True where everything it needs can be imported (nothing is imported to find out)."""
        return all(find_spec(package) is not None for package in self.packages)


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


def load(name: str = "compact", device: str = "auto") -> Detector:
    """Return the detector called `name`, that a folder written by `pixelsleuth export` holds, or
    that "module:callable" makes.

    Raises UnknownModel (with a suggestion), MissingExtra, or UsageError for an unknown device, and for weights
    that are missing or damaged.
    """
    if device not in DEVICES:
        raise UsageError(f"Unknown device {device!r}; choose one of {', '.join(DEVICES)}.")
    spec = _SPECS.get(name)
    if spec is not None:
        missing = next((package for package in spec.packages if find_spec(package) is None), None)
        if missing is not None and spec.extra is not None:
            raise MissingExtra(missing, spec.extra)
        return _make(spec.factory, spec, device=device)
    if os.path.isfile(os.path.join(name, EXPORTED)):
        return _make("pixelsleuth.compact.detector:load_folder", None, name, device=device)
    if ":" in name and not os.path.exists(name):
        return _make(name, None, device=device)
    raise UnknownModel(_unknown(name))


def _make(target: str, spec: ModelSpec | None, *arguments: str, device: str) -> Detector:
    """Import and call a factory; what it lacks on this machine is told in one sentence."""
    name = spec.name if spec is not None else arguments[0] if arguments else target
    try:
        return _factory(target, spec)(*arguments, device=device)
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
    return factory


def _unknown(name: str) -> str:
    names = list(_SPECS)
    known = f"known models: {', '.join(names)}"
    if os.path.isdir(name):
        if os.path.exists(os.path.join(name, "config.json")):
            return (
                f"The folder {name!r} holds a checkpoint; turn it into a detector with `pixelsleuth export`."
            )
        return f"The folder {name!r} holds no model that this version can load; {known}."
    close = difflib.get_close_matches(name.lower(), names, n=1)
    if close:
        return f"There is no model {name!r}; did you mean {close[0]!r}? ({known})"
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return f"{name!r} looks like a hub id, which this version cannot load; {known}."
    return f"There is no model {name!r}; {known}."


@functools.lru_cache(maxsize=1)
def _cached(name: str, device: str) -> Detector:
    return load(name, device)


def check(
    source: Source, *, model: str = "compact", device: str = "auto", explain: bool = True
) -> Verdict | list[Verdict]:
    """Judge a picture, or a list of them, with a detector that stays loaded (see `Detector.check`)."""
    return _cached(model, device).check(source, explain=explain)


register(
    ModelSpec(
        name="compact",
        factory="pixelsleuth.compact.detector:load",
        summary="The bundled detector: the SIDA architecture at laptop size, through ONNX Runtime.",
        parameters=1_508_175,
        download_bytes=0,
        capabilities=frozenset(Capability),
        licence="Apache-2.0",
    )
)
