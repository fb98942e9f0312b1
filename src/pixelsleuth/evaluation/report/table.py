"""The five main figures of an evaluation for a terminal, from its `metrics.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

MAIN = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "auroc": "AUROC fake / real",
    "pixel_f1": "Pixel F1",
    "pixel_iou": "Pixel IoU",
}
"""Three that say whether the label is right, two that say whether the place is."""
WITH_INTERVALS = 3
"""Up to so many detectors and conditions each get a table of their own, with intervals; more share one."""


def print_figures(result: Mapping[str, Any], console: Console) -> None:
    """Print the main figures of every detector under every condition; `result` is what `metrics.json` holds."""
    from rich.markup import escape
    from rich.table import Table

    measured = list(_measured(result))
    if len(measured) <= WITH_INTERVALS:
        for name, condition, found in measured:
            console.print(f"[bold]{escape(name)}[/bold], {escape(condition)}, {found['pictures']} pictures")
            table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
            for key, title in MAIN.items():
                table.add_row(f"  {title}", *_with_interval(found["figures"].get(key)))
            console.print(table)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("Detector", "Condition"):
        table.add_column(heading, overflow="fold")
    for title in MAIN.values():
        table.add_column(title, justify="right")
    for name, condition, found in measured:
        values = (_number(found["figures"].get(key)) for key in MAIN)
        table.add_row(escape(name), escape(condition), *values)
    console.print(table)


def _measured(result: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for model in result["models"]:
        for condition, found in model["conditions"].items():
            yield f"{model['name']} {model['version']}", condition, found


def _number(figure: Mapping[str, Any] | None) -> str:
    value = figure["value"] if figure else None
    return "n/a" if value is None else f"{value:.3f}"


def _with_interval(figure: Mapping[str, Any] | None) -> tuple[str, str]:
    """The value and its 95 % interval.

    >>> _with_interval({"value": 0.7512, "low": 0.7, "high": 0.8}), _with_interval(None)
    (('0.751', '95 % interval 0.700 to 0.800'), ('n/a', ''))
    """
    if figure is None or figure["low"] is None or figure["high"] is None:
        return _number(figure), ""
    return _number(figure), f"95 % interval {figure['low']:.3f} to {figure['high']:.3f}"
