"""Settings: a YAML file with `key=value` on top, filled into dataclasses; unknown names are refused with the nearest.

Forge, training and evaluation read their recipes through here, so that all of them say the same of the same mistake.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pixelsleuth.core.names import suggestion
from pixelsleuth.errors import MissingExtra, UsageError

LARGEST = 1_000_000
"""Bytes of a recipe, at most."""
DEEPEST = 32
"""Lists and mappings within each other, at most."""
MOST_VALUES = 100_000
T = TypeVar("T")


def read_yaml(
    path: Path, overrides: Sequence[str] = (), *, example: str = "recipes/tiny.yaml", extra: str = "train"
) -> dict[str, Any]:
    """The mapping in a YAML file, overrides (`key=value`, dots lead inside, values are YAML) put in.

    Raises:
        UsageError: no such file, no YAML, no mapping, or an override without a value. MissingExtra: no PyYAML.
    """
    try:
        import yaml
    except ImportError:
        raise MissingExtra("pyyaml", extra) from None
    if not path.is_file():
        raise UsageError(f"{path} is not a file: name a recipe, such as {example}.")
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path} is too large for a recipe.")
    try:
        content = plain_yaml(path.read_text(encoding="utf-8"), str(path))
        if content is None:
            content = {}
        changes = []
        for one in overrides:
            name, equals, value = one.partition("=")
            if not equals or not name.strip():
                raise UsageError(f"{one!r} is no override: write key=value, such as seed=3.")
            names = name.strip().split(".")
            if len(names) > DEEPEST:
                raise UsageError(f"{name[:60]}... is no setting: there are at most {DEEPEST} levels.")
            changes.append((names, plain_yaml(value, f"{name.strip()}={value[:40]}") if value else None))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a YAML file.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, a date that is none, endless digits
        where = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{path}, or a setting beside it, is no YAML ({where}): correct that place."
        ) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings: a recipe is a list of key: value.")
    for names, wanted in changes:
        inside: dict[str, Any] = content
        for name in names[:-1]:
            inside[name] = inside.get(name) if isinstance(inside.get(name), dict) else {}
            inside = inside[name]
        inside[names[-1]] = wanted
    return content


def plain_yaml(text: str, where: str) -> Any:
    """The value that YAML text holds, read by the safe loader; `where` names the text in errors.

    An alias can unfold a few lines into gigabytes, and deep nesting exhausts the stack, so neither gets as far as the
    loader; no recipe needs them. Raises UsageError for both, yaml.YAMLError or ValueError for what is no YAML.
    """
    import yaml

    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = f", line {event.start_mark.line + 1}" if event.start_mark else ""
            raise UsageError(f"{where} uses an alias (*{event.anchor}{line}): write the value out.")
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UsageError(f"{where} nests more than {DEEPEST} levels deep: no recipe does.")
        if values > MOST_VALUES:
            raise UsageError(f"{where} holds more than {MOST_VALUES:,} values: no recipe does.")
    return yaml.safe_load(text)


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested settings."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def fill(kind: type[T], content: Mapping[str, Any], where: str = "", root: Any = None) -> T:
    """A dataclass out of nested plain values; a nested one that is given as a text gets it as its first field.

    Raises:
        UsageError: a key that is not known, or a value of another type.
    """
    hints, root = typing.get_type_hints(kind), root or kind
    for key in content:
        if key not in hints:
            deeper = [name for name, _ in flat(dataclasses.asdict(root())) if name.endswith(f".{key}")]
            said = (
                f"; did you mean {deeper[0]}?" if deeper and not where else suggestion(str(key), hints, where)
            )
            raise UsageError(f"There is no setting {where}{key}{said}")
    return kind(**{key: _value(hints[key], value, f"{where}{key}", root) for key, value in content.items()})


def _value(kind: Any, value: Any, name: str, root: Any) -> Any:
    """`value` as the type of the field `name`, or a refusal."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if isinstance(value, str):
            return typing.cast(Any, kind)(value)
        if value is not None and not isinstance(value, Mapping):
            raise UsageError(f"{name} has settings of its own: write {name}.key=value.")
        return fill(typing.cast(Any, kind), value or {}, f"{name}.", root)
    if origin in (types.UnionType, typing.Union):
        rest = next(one for one in inner if one is not type(None))
        return None if value is None else _value(rest, value, name, root)
    if origin is Literal:
        value = "off" if value is False and "off" in inner else value  # YAML reads `off` as False
        if value not in inner or isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}{suggestion(str(value), inner)}.")
        return value
    if origin in (tuple, list):
        rows = value if isinstance(value, list | tuple) else [] if value is None else [value]
        if origin is tuple and inner[1] is not Ellipsis and len(rows) != len(inner):
            raise UsageError(f"{name} takes {len(inner)} values, such as [0.9, 0.95].")
        return origin(_value(inner[0], row, name, root) for row in rows)
    return _plain(origin or kind, value, name)


def _plain(kind: Any, value: Any, name: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is Any:
        return value
    if kind is float and (number or isinstance(value, str)):
        try:
            return float(value)  # also "1e-4", which YAML takes for a text
        except ValueError:
            pass
    elif kind is str and (number or value is None):
        return "" if value is None else str(value)
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise UsageError(f"{name} is {value!r}, which is no {kind.__name__}.")
