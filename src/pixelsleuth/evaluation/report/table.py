"""Tables for a terminal: main figures, a published table beside ours, differences of two evaluations."""

from __future__ import annotations

import sys
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
"""Three figures of the label, two of the place."""
WITH_INTERVALS = 3
"""Up to so many detectors and conditions each get a table of their own, with intervals; more share one."""
WIDE = 240
"""Characters of a published table in a file or a pipe."""


def print_figures(result: Mapping[str, Any], console: Console) -> None:
    """Print the main figures of every detector under every condition; `result` is what `metrics.json` holds."""
    from rich.markup import escape
    from rich.table import Table

    measured = list(_measured(result))
    if len(measured) <= WITH_INTERVALS:
        for name, condition, outcome in measured:
            console.print(f"[bold]{escape(name)}[/bold], {escape(condition)}, {outcome['pictures']} pictures")
            table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
            for key, title in MAIN.items():
                table.add_row(f"  {title}", *_with_interval(outcome["figures"].get(key)))
            console.print(table)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("Detector", "Condition"):
        table.add_column(heading, overflow="fold")
    for title in MAIN.values():
        table.add_column(title, justify="right")
    for name, condition, outcome in measured:
        values = (_number(outcome["figures"].get(key)) for key in MAIN)
        table.add_row(escape(name), escape(condition), *values)
    console.print(table)


def _measured(result: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for model in result["models"]:
        for condition, outcome in model["conditions"].items():
            yield f"{model['name']} {model['version']}", condition, outcome


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


def print_published(table: Mapping[str, Any], console: Console) -> None:
    """Print the published table beside ours, a row a method, and what was left out; `table` as in `metrics.json`."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("Method", "", *table["columns"]):
        shown.add_column(heading, justify="right" if heading in table["columns"] else "left")
    left_out = [row for row in table["rows"] if row["kind"] == "left out"]
    for row in table["rows"]:
        if row not in left_out:
            name = row["method"] + ("" if row["condition"] == "clean" else f", {row['condition']}")
            values = (row["figures"].get(column) for column in table["columns"])
            shown.add_row(
                escape(name), row["kind"], *("-" if value is None else f"{value:.1f}" for value in values)
            )
    if not sys.stdout.isatty():
        console.width = WIDE
    console.print(f"[bold]{escape(table['title'])}[/bold]", shown, sep="\n")
    for row in left_out:
        console.print(f"Left out: {escape(row['method'])}. {escape(row['note'])}", style="dim")


def print_differences(pair: Mapping[str, Any], condition: str, console: Console) -> None:
    """Print the paired differences of two models, a row a figure."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("Figure", "A", "B", "B minus A", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "Figure" else "right")
    for name, row in pair["figures"].items():
        if row["difference"] is not None:
            interval = f"{_signed(row['low'])} to {_signed(row['high'])}"
            values = (f"{row['first']:.3f}", f"{row['second']:.3f}", _signed(row["difference"]), interval)
            table.add_row(name, *values)
    names = f"A: {escape(pair['first'])}   B: {escape(pair['second'])}"
    console.print(f"{names}   {pair['pictures']} pictures, {escape(condition)}")
    console.print(table)


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.3f}"
