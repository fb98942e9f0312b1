"""What the recipes of the vision-language models may hold: defaults by name, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelsleuth.core.names import suggestion
from pixelsleuth.errors import UsageError
from pixelsleuth.training.recipe import ensure_new


def begin(told: Mapping[str, Any], *, resume: bool) -> Path:
    """The folder of a training, made. Raises UsageError: data or out are not named, out holds a training."""
    for name in ("data", "out"):
        if not told.get(name):
            raise UsageError(f"The recipe names no {name}: add {name}=... to the command.")
    return ensure_new(Path(str(told["out"])), resume=resume)


def shown(told: Mapping[str, Any]) -> str:
    """Settings as YAML, for `--dry-run`."""
    import yaml

    return str(yaml.safe_dump(dict(told), sort_keys=False)).rstrip()


def settings(given: Mapping[str, Any] | None, defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`defaults` with what is given put in. Raises UsageError for an unknown key or a value of another type."""
    merged = dict(defaults)
    for key, value in (given or {}).items():
        if key not in defaults:
            raise UsageError(f"{what} has no setting {key!r}{suggestion(str(key), defaults)}")
        standard = defaults[key]
        if isinstance(standard, float) and not isinstance(value, bool) and isinstance(value, int | str):
            value = _number(value, key)
        if standard is not None and value is not None and type(value) is not type(standard):
            raise UsageError(f"{what}.{key} is {value!r}; {type(standard).__name__} is wanted.")
        merged[key] = value
    return merged


def _number(value: Any, key: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{key} is {value!r}; a number is wanted.") from None
