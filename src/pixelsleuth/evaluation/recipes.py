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

A figure that is not known stays out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.settings import OneOf, fill, read_yaml
from pixelsleuth.errors import UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.protocols import PROTOCOLS


@dataclass(frozen=True)
class PublishedRow:
    """A row of the published table: its figures by column."""

    method: str
    """Row of the table."""
    figures: dict[str, Any]
    """Column -> figure, as published."""
    condition: str = "clean"
    """`clean`, or a perturbation."""
    note: str = ""
    """What is to be known of the row."""


@dataclass(frozen=True)
class Recipe:
    """One table."""

    title: str
    """Title of the table."""
    protocol: Annotated[str, OneOf(PROTOCOLS)]
    """Protocol that the figures follow."""
    data: dict[str, Any] = field(default_factory=dict)
    """`spec`, `split` and `reader` of the data; `download`: what to get first."""
    models: dict[str, str] = field(default_factory=dict)
    """Name of a detector -> the method that it stands for; or a list of names."""
    perturb: tuple[str, ...] = ()
    """Perturbations that are judged, too."""
    columns: dict[str, str] = field(default_factory=dict)
    """Column of the table -> our figure."""
    scale: float = 1.0
    """Published figures are ours times this."""
    published: tuple[PublishedRow, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    """Where the table stands: `paper`, `table` and so on."""
    notes: tuple[str, ...] = ()
    """What is to be known of the table."""


def read_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises UsageError for what it should not hold, MissingExtra without PyYAML."""
    content = read_yaml(path, example="recipes/tables/sida_table2.yaml", extra="eval")
    models = content.get("models")
    if isinstance(models, list):
        content["models"] = {str(name): str(name) for name in models}
    recipe = fill(Recipe, content)
    for spec in recipe.perturb:
        perturbations.parse(spec)
    for row in recipe.published:
        for column, value in row.figures.items():
            if column not in recipe.columns:
                raise UsageError(
                    f"{path}: {row.method} has a figure {column!r}{suggestion(column, recipe.columns)}"
                )
            if not isinstance(value, int | float):
                raise UsageError(f"{path}: the figure {column} of {row.method} is {value!r}: write a number.")
    return recipe


def table_of(recipe: Recipe, models: list[dict[str, Any]], left_out: dict[str, str]) -> dict[str, Any]:
    """The published table and ours, as `metrics.json` holds it.

    Its rows are {kind: published|measured|left out, method, condition, figures by column, note}, those of one method
    together. Measured figures are in the scale of the published table. `left_out` maps the models of the table that
    could not be loaded to the reason.
    """
    rows: list[dict[str, Any]] = [
        {
            "kind": "published",
            "method": row.method,
            "condition": row.condition,
            "figures": dict(row.figures),
            "note": row.note,
        }
        for row in recipe.published
    ]
    for model in models:
        method = recipe.models.get(model["name"], "")
        for condition, result in model["conditions"].items():
            figures = {
                column: _measured(result, path, recipe.scale) for column, path in recipe.columns.items()
            }
            row = {
                "kind": "measured",
                "method": f"{model['name']} {model['version']}",
                "condition": condition,
            }
            _place(rows, {**row, "figures": figures, "note": ""}, method)
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
    """Insert `row` behind the last row of `method`, else at the end."""
    row["of"] = method
    same = [i for i, other in enumerate(rows) if method and method in (other["method"], other.get("of"))]
    rows.insert(same[-1] + 1 if same else len(rows), row)


def _measured(result: dict[str, Any], path: str, scale: float) -> float:
    """The figure at `path`: a name among the figures, or dots into the result (`by_source.a.figures.accuracy`)."""
    entry: Any = result if "." in path else result["figures"]
    for step in path.split("."):
        entry = entry.get(step) if isinstance(entry, dict) else None
    value = entry.get("value") if isinstance(entry, dict) else entry
    return float("nan") if value is None else float(value) * scale
