"""Settings of every recipe: the keys, types and defaults of the dataclasses, the meanings out of their docstrings."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import griffe

from tools.pages.generated import as_prose, table

SOURCES = Path(__file__).resolve().parents[2] / "src"
RECIPES = {
    "run": "pixelsleuth.training.run.settings:RunSettings",
    "vlm": "pixelsleuth.training.vlm.settings:VlmSettings",
    "sida": "pixelsleuth.training.sida.settings:SidaSettings",
    "baseline": "pixelsleuth.training.baselines.settings:BaselineSettings",
    "fakevlm": "pixelsleuth.training.vlm.settings:FakeVlmSettings",
    "so_fake_r1": "pixelsleuth.training.vlm.settings:SoFakeR1Settings",
    "compact": "pixelsleuth.training.compact.settings:CompactRecipe",
    "forge": "pixelsleuth.forge.configuration:ForgeConfig",
    "table": "pixelsleuth.evaluation.recipes:Recipe",
}
"""Kind of a recipe -> the dataclass that it is read into. `run` and `vlm` hold what several kinds have in common."""
WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    dict: "mapping",
    Any: "any",
}


def settings(kind: str) -> str:
    """The tables of a recipe's settings: its own keys, then those of each group inside it. Raises KeyError."""
    return "\n\n".join(_tables(dataclass_of(kind)))


def dataclass_of(kind: str) -> Any:
    """The dataclass of a kind of recipe. Raises KeyError."""
    module, _, name = RECIPES[kind].partition(":")
    return getattr(import_module(module), name)


def own_keys(kind: Any) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """(field, type) of the settings of a dataclass, without those that it has from the common ones as they are."""
    hints = typing.get_type_hints(kind, include_extras=True)
    common = [dataclass_of(name) for name in ("run", "vlm")]
    inherited = any(base in kind.__mro__[1:] for base in common)
    for entry in dataclasses.fields(kind):
        if entry.init and not (inherited and entry.name not in vars(kind)["__annotations__"]):
            yield entry, hints[entry.name]


def _tables(root: Any) -> Iterator[str]:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    done: list[Any] = []
    while waiting:
        prefixes, kind = waiting.pop(0)
        says = as_prose(kind.__doc__ or "")
        if prefixes:
            names = ", ".join(f"`{prefix}`" for prefix in prefixes)
            yield f"**{names}**: {says}"
        elif says:
            yield says
        done.append(kind)
        lead = f"{prefixes[0]}." if len(prefixes) == 1 else "." if prefixes else ""
        rows, groups = [], dict[Any, list[str]]()
        for entry, hint in own_keys(kind):
            inner = group_of(hint)
            if inner is None or not dataclasses.is_dataclass(bare(hint)):
                row = (f"`{lead}{entry.name}`", _type(hint), _default(entry), meaning(kind, entry.name))
                rows.append(row)
            if inner is not None and inner not in done:
                groups.setdefault(inner, []).append(f"{lead}{entry.name}")
        if rows:
            yield table(("key", "type", "default", "meaning"), rows)
        waiting[:0] = [(tuple(names), inner) for inner, names in groups.items()]


def bare(hint: Any) -> Any:
    """The type without `Annotated` and without `| None`."""
    if typing.get_origin(hint) is Annotated:
        return bare(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return bare(next(kind for kind in typing.get_args(hint) if kind is not type(None)))
    return hint


def group_of(hint: Any) -> Any:
    """The dataclass that a setting is, or a list of; else None."""
    plain = bare(hint)
    if dataclasses.is_dataclass(plain):
        return plain
    inner = [bare(kind) for kind in typing.get_args(plain) if kind is not Ellipsis]
    is_list = typing.get_origin(plain) in (tuple, list)
    return inner[0] if is_list and inner and dataclasses.is_dataclass(inner[0]) else None


def _type(hint: Any) -> str:
    """A type in words, with the values or the range that it takes."""
    from pixelsleuth.core.settings import OneOf, Range

    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        words = _type(inner[0])
        for rule in inner[1:]:
            if isinstance(rule, Range):
                words += f", {rule}"
            elif isinstance(rule, OneOf):
                names = rule.names() if callable(rule.names) else rule.names
                words = " or ".join(f"`{name}`" for name in names)
        return words
    if origin in (types.UnionType, typing.Union):
        return f"{_type(next(kind for kind in inner if kind is not type(None)))}, or null"
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (tuple, list):
        if origin is tuple and Ellipsis not in inner:
            return f"{len(inner)} values: {_type(inner[0])}"
        return f"list of {_plural(_type(inner[0]))}"
    if dataclasses.is_dataclass(hint):
        return "groups, see below"
    return WORDS[origin or hint]


def _plural(words: str) -> str:
    """What a list holds, in words."""
    return {"text": "texts", "number": "numbers", "mapping": "mappings"}.get(words, words)


def _default(entry: dataclasses.Field[Any]) -> str:
    """A field's default as a recipe writes it; empty where there is none."""
    value = entry.default
    if value is dataclasses.MISSING:
        if entry.default_factory is dataclasses.MISSING:
            return "required"
        value = entry.default_factory()
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(map(str, value))}]`" if value else ""
    if isinstance(value, dict):
        pairs = ", ".join(f"{key}: {item}" for key, item in value.items())
        return f"`{{{pairs}}}`" if value else ""
    return f"`{value}`" if value != "" else ""


def meaning(owner: type, name: str) -> str:
    """The docstring below a field, of the class itself or of the nearest base that has one; else empty."""
    for kind in owner.__mro__:
        if kind.__module__.startswith("pixelsleuth"):
            attribute = _module(kind.__module__)[kind.__name__].members.get(name)
            if attribute is not None and attribute.docstring is not None:
                return as_prose(attribute.docstring.value)
    return ""


@functools.cache
def _module(name: str) -> Any:
    """A module as griffe reads it, without running it."""
    path = SOURCES.joinpath(*name.split(".")).with_suffix(".py")
    return griffe.visit(name, filepath=path, code=path.read_text(encoding="utf-8"))
