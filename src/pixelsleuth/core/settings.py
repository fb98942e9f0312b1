"""Reads settings into dataclasses: YAML files with `key=value` on top, and options that are texts by name.

    @dataclass(frozen=True)
    class Training:
        steps: Count = 1000                                # a whole number from 1 on
        dropout: Annotated[float, Range(0, below=1)] = 0.1
        schedule: Literal["linear", "cosine"] = "linear"
        full: tuple[Annotated[str, OneOf(MODULES)], ...] = ()

    training = fill(Training, read_yaml(path, ["steps=500"]))

Recipes, readers and detectors are all read here, so the same mistake gets the same sentence, with the nearest name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pixelsleuth.core.names import suggestion
from pixelsleuth.errors import MissingExtra, UsageError

LARGEST = 1_000_000
"""Bytes of a recipe, at most."""
DEEPEST = 32
"""Lists and mappings within each other, at most."""
MOST_VALUES = 100_000
MOST_SHOWN = 100
"""Letters of a value that an error repeats."""
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting takes, as `steps: Annotated[int, Range(1)] = 1000` says it beside its type.

    `least` and `most` belong to the range, `above` and `below` do not. NaN lies in no range.

    >>> print(Range(0, below=1))
    at least 0 and below 1
    >>> 0.5 in Range(0, 1), float("nan") in Range(0)
    (True, False)
    >>> Range(1).check("steps", 0)
    Traceback (most recent call last):
        ...
    pixelsleuth.errors.UsageError: steps is 0: it must be at least 1.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, number: float) -> bool:
        return (
            number == number
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        ends = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {end}" for word, end in ends.items() if end is not None)

    def check(self, name: str, number: float) -> None:
        """Raise UsageError where the number of the setting `name` lies outside."""
        if number not in self:
            raise refused(name, number, f": it must be {self}")


@dataclasses.dataclass(frozen=True)
class OneOf:
    """The texts that a setting takes where `Literal` cannot list them: the names of a table, or what a function gives.

    >>> OneOf({"fusion": 1, "clip": 2}).check("full", "fusoin")
    Traceback (most recent call last):
        ...
    pixelsleuth.errors.UsageError: full is 'fusoin'; did you mean fusion?
    """

    names: Collection[str] | Callable[[], Collection[str]]

    def check(self, name: str, value: str) -> None:
        """Raise UsageError where the text of the setting `name` is none of them."""
        names = self.names() if callable(self.names) else self.names
        if value not in names:
            raise refused(name, value, suggestion(value, names))


# Types of frequent settings: steps, seeds, shares, rates, weights.
Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(0)]


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
        changes = [_override(text) for text in overrides]
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a YAML file.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, a date that is none, endless digits
        where = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{path}, or a setting beside it, is no YAML ({where}): correct that place."
        ) from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings: a recipe is a list of key: value.")
    for names, value in changes:
        inside: dict[str, Any] = content
        for name in names[:-1]:
            inside[name] = inside.get(name) if isinstance(inside.get(name), dict) else {}
            inside = inside[name]
        inside[names[-1]] = value
    return content


def _override(text: str) -> tuple[list[str], Any]:
    """The names, from the outermost on, and the value of `key=value`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{text!r} is no override: write key=value, such as seed=3.")
    names = name.strip().split(".")
    if len(names) > DEEPEST:
        raise UsageError(f"{name[:60]}... is no setting: there are at most {DEEPEST} levels.")
    return names, plain_yaml(value, f"{name.strip()}={value[:40]}") if value else None


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


def fill(kind: type[T], content: Mapping[str, Any], where: str = "") -> T:
    """A dataclass out of nested plain values; a nested one that is given as a text gets it as its first field.

    Values are held to the field's type: `Literal` for a few texts, `Range` and `OneOf` in `Annotated` for more.
    `where` stands before the names in errors.

    Raises:
        UsageError: a name that is not known or is missing, a value of another type or outside its range.
    """
    return _filled(kind, content, where, kind)


def _filled(kind: type[T], content: Mapping[str, Any], where: str, root: type) -> T:
    """`fill` for the dataclass `kind`, which is `root` or lies inside it at `where`."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = [entry for entry in dataclasses.fields(typing.cast(Any, kind)) if entry.init]
    known = [entry.name for entry in fields]
    for key in content:
        if key not in known:
            deeper = next((name for name in _names(root) if name.endswith(f".{key}")), None)
            hint = f"; did you mean {deeper}?" if deeper and not where else suggestion(str(key), known, where)
            raise UsageError(f"There is no setting {where}{key}{hint}")
    for entry in fields:
        required = entry.default is entry.default_factory is dataclasses.MISSING
        if required and entry.name not in content:
            raise UsageError(f"The setting {where}{entry.name} is missing: add it.")
    return kind(**{key: _value(hints[key], value, f"{where}{key}", root) for key, value in content.items()})


def _names(kind: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all settings of a dataclass."""
    for name, hint in typing.get_type_hints(kind).items():
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(hint):
            yield from _names(hint, f"{prefix}{name}.")


def _value(kind: Any, value: Any, name: str, root: type) -> Any:
    """`value` as the type of the field `name`. Raises UsageError."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        value = _value(inner[0], value, name, root)
        for rule in inner[1:]:
            if isinstance(rule, Range | OneOf) and value is not None:
                rule.check(name, value)
        return value
    if dataclasses.is_dataclass(kind):
        if isinstance(value, str):
            value = {dataclasses.fields(kind)[0].name: value}
        if value is not None and not isinstance(value, Mapping):
            raise UsageError(f"{name} has settings of its own: write {name}.key=value.")
        return _filled(typing.cast(Any, kind), value or {}, f"{name}.", root)
    if origin in (types.UnionType, typing.Union):
        usual = next(member for member in inner if member is not type(None))
        return None if value is None else _value(usual, value, name, root)
    if origin is Literal:
        value = "off" if value is False and "off" in inner else value  # YAML reads `off` as False
        if value not in inner or isinstance(value, bool):
            raise refused(name, value, suggestion(str(value), inner))
        return value
    if origin in (tuple, list):
        rows = value if isinstance(value, list | tuple) else [] if value is None else [value]
        if origin is tuple and inner[1] is not Ellipsis and len(rows) != len(inner):
            raise UsageError(f"{name} takes {len(inner)} values, such as [0.9, 0.95].")
        return origin(_value(inner[0], row, name, root) for row in rows)
    if origin is dict and isinstance(value, Mapping):
        return {key: _value(inner[1], entry, f"{name}.{key}", root) for key, entry in value.items()}
    return _plain(origin or kind, value, name)


_SPOKEN = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a mapping"}


def _plain(kind: Any, value: Any, name: str) -> Any:
    """`value` as a number, a text or a truth value; texts such as "1e-4", which YAML takes for none, are numbers."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is Any:
        return value
    if kind is float and (number or isinstance(value, str)):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)
    elif kind is str and (number or value is None):
        return "" if value is None else str(value)
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise refused(name, value, f": it must be {_SPOKEN.get(kind, kind.__name__)}")


def refused(name: str, value: Any, hint: str) -> UsageError:
    """The error for a value that a setting does not take; `hint` says what it takes.

    >>> print(refused("mode", "onn", "; did you mean on?"))
    mode is 'onn'; did you mean on?
    """
    shown = repr(value)
    shown = shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}..."
    return UsageError(f"{name} is {shown}{hint}{'' if hint.endswith('?') else '.'}")


def choose(
    owner: str, given: Mapping[str, Any], defaults: Mapping[str, str], allowed: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """Options that are texts by name: `defaults` with `given` put in.

    `allowed` lists the values of an option; one without a list takes any text. `owner` stands in errors.

    Raises:
        UsageError: an option or a value that is not known.

    >>> choose("NPR", {"size": "224"}, {"size": "native", "planes": "rgb"}, {"size": ("native", "224")})
    {'size': '224', 'planes': 'rgb'}
    >>> choose("NPR", {"size": "225"}, {"size": "native"}, {"size": ("native", "224")})
    Traceback (most recent call last):
        ...
    pixelsleuth.errors.UsageError: NPR: size is '225'; did you mean 224?
    """
    for name, value in given.items():
        if name not in defaults:
            hint = suggestion(name, defaults) if defaults else "; it has none."
            raise UsageError(f"{owner} has no option {name!r}{hint}")
        if allowed.get(name) and str(value) not in allowed[name]:
            raise refused(f"{owner}: {name}", str(value), suggestion(str(value), allowed[name]))
    return {**defaults, **{name: str(value) for name, value in given.items()}}
