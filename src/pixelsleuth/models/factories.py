"""A detector out of "module:callable": import it, check that it makes detectors, call it; failures in one sentence.

Of somebody's own module only a class of detectors, or a function that makes one, is ever called.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import MissingExtra, UnknownModel, UsageError
from pixelsleuth.models.catalogue import ModelSpec, importable
from pixelsleuth.models.facts import Facts

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector

ADVICE = (
    "name a class derived from pixelsleuth.core.detector.Detector, or a function, with a parameter `device`"
)


def make(target: str, spec: ModelSpec | None, *arguments: str, **options: Any) -> Detector:
    """Call the factory "module:callable"; without `spec` and `arguments` it is somebody's own.

    Raises:
        MissingExtra: the extra of `spec` is not installed. UnknownModel: there is no such factory, or it makes no
            detector. UsageError: it fails to import, or its files cannot be read.
    """
    if spec is not None:
        missing = next((package for package in spec.packages if not importable(package)), None)
        if missing is not None and spec.extra is not None:
            raise MissingExtra(missing, spec.extra)
    name = spec.name if spec is not None else arguments[0] if arguments else target
    own = spec is None and not arguments
    try:
        factory = import_factory(target, own=spec is None)
        if own:
            _ensure_makes_detector(factory, target)
        made = factory(*arguments, **options)
        if own:
            _ensure_detector(made, target)
        return made
    except ModuleNotFoundError as error:
        raise _missing(error, target, spec) from error
    except ImportError as error:
        raise UsageError(f"The model {name!r} cannot be imported ({error}); install it again.") from error
    except OSError as error:
        raise UsageError(
            f"The model {name!r} cannot be read ({error.strerror or error}); check that its files are there."
        ) from error


def import_factory(target: str, *, own: bool = False) -> Callable[..., Any]:
    """The callable that "module:callable" names; `own`: it is somebody's own, and mistakes in it are theirs.

    Raises:
        UnknownModel: the module has no such name. UsageError: the module fails when it is imported. ImportError.
    """
    module_name, _, attribute = target.partition(":")
    try:
        factory: Any = getattr(import_module(module_name), attribute)
    except (AttributeError, ValueError) as error:
        if own:
            raise UnknownModel(f"There is no model {target!r}: {error}.") from error
        raise
    except (ImportError, OSError):
        raise
    except Exception as error:
        if not own:
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"The module of {target!r} fails when it is imported ({reason}); mend it."
        ) from error
    return factory


def facts_of_class(target: str) -> Facts | None:
    """The facts of somebody's own baseline, "module:Class"; None for anything else and for what cannot be imported."""
    module, colon, attribute = target.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), attribute]):
        return None
    try:
        facts = getattr(getattr(import_module(module), attribute, None), "facts", None)
    except Exception:  # `make` imports the module again and reports the failure
        return None
    return facts if isinstance(facts, Facts) else None


def _missing(error: ModuleNotFoundError, target: str, spec: ModelSpec | None) -> UsageError:
    """The error for a module that is not installed: the target itself, or a package that it needs."""
    module, missing = target.partition(":")[0], error.name or ""
    if missing and f"{module}.".startswith(f"{missing}."):
        return UnknownModel(
            f"There is no model {target!r}: {error}. Python looks in PYTHONPATH and, as "
            "`python -m pixelsleuth`, in the folder that you work in."
        )
    package = missing.partition(".")[0]
    if spec is None and not module.startswith("pixelsleuth."):
        return UsageError(f"The model {target!r} needs {package}, which is not installed; install it.")
    return MissingExtra(package, spec.extra if spec is not None else None)


def _ensure_makes_detector(factory: Any, target: str) -> None:
    """Refuse, before it is called, what does not look like a detector's factory.

    A function must have a parameter `device` and need no other. It must be annotated to return a `Detector`, or be
    defined in the named module and have no return annotation.

    Raises UnknownModel.
    """
    from pixelsleuth.core.detector import Detector

    if isinstance(factory, type):
        if not issubclass(factory, Detector) or inspect.isabstract(factory):
            raise UnknownModel(f"{target!r} is a class, but no detector: {ADVICE}.")
        if not _takes_device(factory):
            raise UnknownModel(f"{target!r} is a detector that cannot be made with `device` alone: {ADVICE}.")
        return
    if not inspect.isfunction(factory) and not isinstance(factory, functools.partial):
        raise UnknownModel(f"{target!r} is no detector but {_kind(factory)}: {ADVICE}.")
    if not _takes_device(factory):
        raise UnknownModel(f"{target!r} is a function that makes no detector: {ADVICE}.")
    returned = _returned(factory)
    if returned is None and getattr(factory, "__module__", None) == target.partition(":")[0]:
        return
    if isinstance(returned, type) and issubclass(returned, Detector):
        return
    if isinstance(returned, str) and returned.endswith("Detector"):
        return  # a name that only a type checker can resolve
    raise UnknownModel(f"{target!r} is a function that returns no detector: {ADVICE}.")


def _takes_device(factory: Any) -> bool:
    """True where `device` is a parameter and no other must be passed."""
    parameters = inspect.signature(factory).parameters
    needed = {
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    return "device" in parameters and needed <= {"device"}


def _ensure_detector(made: Any, target: str) -> None:
    from pixelsleuth.core.detector import Detector

    if not isinstance(made, Detector):
        raise UnknownModel(f"{target!r} made {_kind(made)}, which is no detector: {ADVICE}.")


def _returned(factory: Any) -> Any:
    """A function's return annotation: a class, a text where it cannot be resolved, None without an annotation."""
    annotation = getattr(factory, "__annotations__", {}).get("return")
    try:
        return typing.get_type_hints(factory).get("return", annotation)
    except Exception:  # an annotation is code, and may name what is imported for type checkers alone
        return annotation


def _kind(value: Any) -> str:
    """The type of a value with its article.

    >>> _kind(3), _kind("x"), _kind(len)
    ('an int', 'a str', 'a builtin_function_or_method')
    """
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
