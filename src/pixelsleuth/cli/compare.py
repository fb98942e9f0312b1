"""`pixelsleuth compare`: paired differences of two evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pixelsleuth.cli.options import style_option


@click.command(short_help="Paired differences of two evaluations, with intervals.")
@click.argument("first", type=click.Path(path_type=Path), metavar="A")
@click.argument("second", type=click.Path(path_type=Path), metavar="B")
@click.option(
    "--condition", default="clean", show_default=True, help="clean, or a perturbation of both runs."
)
@style_option
@click.option(
    "--resamples", type=click.IntRange(10, 100_000), default=1000, show_default=True, help="Of the bootstrap."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def compare(first: Path, second: Path, condition: str, style: str, resamples: int, seed: int) -> None:
    """Compare the models of folder B with those of folder A, picture by picture.

    A and B were written by 'evaluate' on the same pictures. Differences are B less A.
    """
    from pixelsleuth.evaluation.compare import compare_runs
    from pixelsleuth.evaluation.summary import as_json

    found = compare_runs(first, second, condition=condition, resamples=resamples, seed=seed)
    if style == "json":
        click.echo(as_json({"condition": condition, "differences": found}), nl=False)
        return
    for one in json.loads(as_json({"all": found}))["all"]:
        _print_table(one, condition)


def _print_table(one: dict[str, Any], condition: str) -> None:
    import sys

    from rich.markup import escape
    from rich.table import Table

    from pixelsleuth.reporting.terminal import console_for

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("Figure", "A", "B", "B less A", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "Figure" else "right")
    for name, row in one["figures"].items():
        if row["difference"] is not None:
            interval = f"{_signed(row['low'])} to {_signed(row['high'])}"
            table.add_row(
                name, f"{row['first']:.3f}", f"{row['second']:.3f}", _signed(row["difference"]), interval
            )
    console = console_for(sys.stdout)
    console.print(
        f"A: {escape(one['first'])}   B: {escape(one['second'])}   {one['pictures']} pictures, {escape(condition)}"
    )
    console.print(table)


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.3f}"
