"""What "module:callable" may name: a class of detectors, or a function that makes one; nothing else is called."""

from __future__ import annotations

import functools
import inspect
import typing
from typing import Any

from pixelsleuth.errors import UnknownModel

ADVICE = (
    "name a class derived from pixelsleuth.core.detector.Detector, or a function, with a parameter `device`"
)


def ensure_makes_detector(factory: Any, target: str) -> None:
    """Refuse what does not look like a detector's factory, before it is called.

    A function must have a parameter `device`, need no other, and either say that it returns a `Detector` or stand in
    the module that was named and say nothing of what it returns.

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
    """True where a call with `device=...` alone is right, by the names of the parameters."""
    parameters = inspect.signature(factory).parameters
    needed = {
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    return "device" in parameters and needed <= {"device"}


def ensure_detector(made: Any, target: str) -> None:
    """Refuse what a factory made, where it is no detector. Raises UnknownModel."""
    from pixelsleuth.core.detector import Detector

    if not isinstance(made, Detector):
        raise UnknownModel(f"{target!r} made {_kind(made)}, which is no detector: {ADVICE}.")


def _returned(factory: Any) -> Any:
    """The annotation of what a function returns: a class, a text where it cannot be resolved, or None without one."""
    annotation = getattr(factory, "__annotations__", {}).get("return")
    try:
        return typing.get_type_hints(factory).get("return", annotation)
    except (
        Exception
    ):  # annotations are code of their own, and may name what is imported for type checkers alone
        return annotation


def _kind(value: Any) -> str:
    """The kind of a value with its article, as people say it.

    >>> _kind(3), _kind("x"), _kind(print)
    ('an int', 'a str', 'a builtin_function_or_method')
    """
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
