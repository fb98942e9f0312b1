"""Recipes: YAML files that name the data, the models, the protocol and the perturbations of one published table,
and the figures that were published, so that ours stand beside them.

    title: SIDA, table 3
    source: {paper: ..., table: ...}
    data: {spec: hf:saberzl/SID_Set, split: validation, download: what to get first}
    models: {sida-7b: SIDA-7B}                 # or a list; the method is the row of the table that a model stands for
    protocol: sida
    perturb: [jpeg:70]
    columns: {Acc: accuracy, F1: macro_f1}     # column of the table -> our figure
    scale: 100                                 # published figures are in percent
    published:
      - {method: SIDA-7B, condition: clean, figures: {Acc: 93.5}}
    notes: [...]

A figure that is not known stays out: no recipe holds an invented number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelsleuth.core.settings import read_yaml
from pixelsleuth.errors import UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.protocols import get_protocol


@dataclass(frozen=True)
class Recipe:
    """One table. `models` by the method that they stand for. `published` rows: method, condition, figures by column,
    note."""

    title: str
    protocol: str
    data: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    perturb: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    scale: float = 1.0
    published: tuple[dict[str, Any], ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises UsageError for what it should not hold, MissingExtra without PyYAML."""
    return _checked(read_yaml(path, example="recipes/tables/sida_table2.yaml", extra="eval"), path)


def _checked(found: Any, path: Path) -> Recipe:
    known = set(Recipe.__dataclass_fields__)
    if not isinstance(found, dict) or not {"title", "protocol"} <= found.keys():
        raise UsageError(f"The recipe {path} needs at least title and protocol.")
    unknown = sorted(set(map(str, found)) - known)
    if unknown:
        raise UsageError(
            f"The recipe {path} holds unknown keys ({', '.join(unknown)}); known: {', '.join(known)}."
        )
    try:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in found.items()
        }
        models = fields.get("models", {})
        if not isinstance(models, dict):
            fields["models"] = {str(name): str(name) for name in models}
        recipe = Recipe(**fields)
        get_protocol(recipe.protocol)
        for spec in recipe.perturb:
            perturbations.parse(spec)
        for row in recipe.published:
            strangers = set(row["figures"]) - set(recipe.columns)
            if strangers or not all(isinstance(v, int | float) for v in row["figures"].values()):
                raise UsageError(f"The recipe {path}: {row['method']} has figures without a column or value.")
    except (TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"The recipe {path} is not built as a recipe ({error}).") from error
    return recipe


def table_of(recipe: Recipe, models: list[dict[str, Any]], left_out: dict[str, str]) -> dict[str, Any]:
    """The published table and ours: rows of {kind: published|measured|left out, method, condition, figures by column,
    note}, those of one method together.

    Measured figures are in the table's own scale; `left_out` are the models of the table that could not be loaded, and
    why.
    """
    rows: list[dict[str, Any]] = [
        {
            "kind": "published",
            "method": row["method"],
            "condition": row.get("condition", "clean"),
            "figures": dict(row["figures"]),
            "note": row.get("note", ""),
        }
        for row in recipe.published
    ]
    for model in models:
        method = recipe.models.get(model["name"], "")
        for condition, result in model["conditions"].items():
            figures = {
                column: _measured(result, path, recipe.scale) for column, path in recipe.columns.items()
            }
            told = {
                "kind": "measured",
                "method": f"{model['name']} {model['version']}",
                "condition": condition,
            }
            _place(rows, {**told, "figures": figures, "note": ""}, method)
    for name, why in left_out.items():
        row = {"kind": "left out", "method": name, "condition": "clean", "figures": {}, "note": why}
        _place(rows, row, recipe.models.get(name, ""))
    return {
        "title": recipe.title,
        "source": recipe.source,
        "columns": dict(recipe.columns),
        "rows": rows,
        "notes": list(recipe.notes),
        "download": recipe.data.get("download", ""),
    }


def _place(rows: list[dict[str, Any]], row: dict[str, Any], method: str) -> None:
    """Behind the last row of its method, which then is also its own; else at the end."""
    row["of"] = method
    mine = [i for i, one in enumerate(rows) if method and method in (one["method"], one.get("of"))]
    rows.insert(mine[-1] + 1 if mine else len(rows), row)


def _measured(result: dict[str, Any], path: str, scale: float) -> float:
    """The figure at `path`: a name among the figures, or dots into the result (`by_source.a.figures.accuracy`)."""
    found: Any = result["figures"].get(path) if "." not in path else result
    if "." in path:
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    value = found.get("value") if isinstance(found, dict) else found
    return float("nan") if value is None else float(value) * scale
