"""What programs read: the fields of the verdict, the codes of errors, the kinds of findings, the routes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.pages.generated import as_prose, table

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "reference" / "verdict.schema.json"


def verdict_fields(argument: str) -> str:
    """The table of a verdict's fields, out of verdict.schema.json."""
    del argument
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return table(("field", "type", "meaning"), list(_fields(schema, "", schema)))


def _fields(node: dict[str, Any], prefix: str, root: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    required = node.get("required", [])
    for name, field in node.get("properties", {}).items():
        field = _resolved(field, root)
        optional = bool(prefix == "" and name not in required)
        says = as_prose(field.get("description", ""))
        yield f"`{prefix}{name}`", _kind(field, root), f"{says} May be absent." if optional else says
        for inner, mark in _inside(field, root):
            if inner.get("properties"):
                yield from _fields(inner, f"{prefix}{name}{mark}.", root)


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The node with what its `$ref` names put below its own members."""
    reference = node.get("$ref")
    if not reference:
        return node
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return {**found, **{key: value for key, value in node.items() if key != "$ref"}}


def _inside(field: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects inside a field, and the mark of a list."""
    for choice in field.get("oneOf", []) or field.get("anyOf", []) or [field]:
        choice = _resolved(choice, root)
        if choice.get("type") == "array" or "items" in choice:
            yield _resolved(choice.get("items", {}), root), "[]"
        elif "properties" in choice:
            yield choice, ""


def _kind(field: dict[str, Any], root: dict[str, Any]) -> str:
    """The type of a field, with its values or range."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join("null" if value is None else f"`{value}`" for value in field["enum"])
    choices = field.get("oneOf") or field.get("anyOf")
    if choices and "type" not in field:
        return " or ".join(
            dict.fromkeys(_kind(_resolved(choice, root), root) for choice in reversed(choices))
        )
    kinds = field.get("type", "any")
    words = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    if "minimum" in field and "maximum" in field:
        words += f", {field['minimum']}..{field['maximum']}"
    if words == "array" and "items" in field:
        items = _resolved(field["items"], root)
        words = f"array of {items['type']}s" if isinstance(items.get("type"), str) else "array"
    return words


def errors(argument: str) -> str:
    """The table of the error codes below a class of `pixelsleuth.errors`, `CLASS` or `CLASS, CLASS`."""
    from pixelsleuth import errors as module

    kinds = [kind for name in argument.split(",") for kind in family(getattr(module, name.strip()))]
    service = argument.strip() == "ServiceError"
    rows = []
    for kind in dict.fromkeys(kinds):
        if "code" not in vars(kind) or kind in abstract():
            continue
        row = [f"`{kind.code}`", f"`{kind.__name__}`", as_prose(_says(kind.__doc__ or ""))]
        rows.append(tuple([*row[:2], str(_status(kind)), row[2]] if service else row))
    head = ("code", "class", "status", "when") if service else ("code", "class", "when")
    return table(head, rows)


def family(base: type[Any]) -> list[type[Any]]:
    """A class and all classes derived from it in `pixelsleuth`, each parent before its children."""
    inner = [kind for child in base.__subclasses__() for kind in family(child)]
    return [base, *(kind for kind in inner if kind.__module__.startswith("pixelsleuth"))]


def abstract() -> set[type[Any]]:
    """Classes that are never raised as they are: bases that sort the others."""
    from pixelsleuth import errors as module

    return {module.PixelSleuthError, module.PictureError, module.ServiceError}


def _status(kind: type[Any]) -> int:
    from pixelsleuth.serving.problems import STATUSES

    return next(status for base, status in STATUSES.items() if issubclass(kind, base))


def _says(docstring: str) -> str:
    """A docstring without its doctest."""
    return docstring.split(">>>")[0].strip()


def findings(argument: str) -> str:
    """The table of the kinds of findings."""
    del argument
    from pixelsleuth.evidence.finding import KINDS

    return table(("kind", "what it says"), [(f"`{kind}`", says) for kind, says in KINDS.items()])


def routes(argument: str) -> str:
    """The table of the service's routes, as its OpenAPI document describes them."""
    del argument
    from types import SimpleNamespace

    from pixelsleuth.serving.app import make_app
    from pixelsleuth.serving.metrics import Metrics
    from pixelsleuth.serving.settings import ServeOptions

    # No model is loaded for a page.
    unstarted: Any = SimpleNamespace(options=ServeOptions(), metrics=Metrics())
    rows = []
    for path, methods in make_app(unstarted).openapi()["paths"].items():
        for method, route in methods.items():
            says = [f"{text.rstrip('.')}." for key in ("summary", "description") if (text := route.get(key))]
            asked = [f"`{one['name']}`" for one in route.get("parameters", []) if one["in"] == "query"]
            rows.append((f"`{method.upper()} {path}`", " ".join(says), ", ".join(asked)))
    return table(("route", "what it does", "parameters"), rows)
