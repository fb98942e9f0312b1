"""`pixelsleuth evaluate`: measure detectors on labelled pictures. Parsing only; the run is `evaluation.run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixelsleuth.cli.options import (
    allow_outside,
    bounds_options,
    device_option,
    reader_option,
    set_option,
    settings_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pixelsleuth.evaluation.recipes import Recipe

WIDE = 240
"""Characters of a table that goes to a file or a pipe."""


@click.command(short_help="Measure detectors on labelled pictures: figures, predictions, a report.")
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Detector; may be given several times."
)
@click.option("--data", metavar="DATA", help="A manifest, a folder in a known layout, or hf:owner/name.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where the files go."
)
@click.option("--split", metavar="NAME", help="Only this part of the data.")
@reader_option
@set_option
@allow_outside
@click.option(
    "--perturb", multiple=True, metavar="SPEC", help="Also after this change, such as jpeg:70 or resize:0.5."
)
@click.option(
    "--protocol", metavar="NAME", help="standard (default), sida, sida_tables, fakevlm, so_fake or imdl."
)
@click.option("--raw", is_flag=True, help="Judge the files' own pixels: nothing is equalised.")
@click.option(
    "--recipe", type=click.Path(path_type=Path), metavar="FILE", help="A published table to set ours beside."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="N pictures, evenly over the classes.")
@click.option(
    "--batch-size", type=click.IntRange(1, 1024), default=8, show_default=True, help="Pictures at once."
)
@device_option
@click.option(
    "--weights",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Of a baseline: its file, or the folder of its files; of several: the folder that holds all.",
)
@click.option(
    "--option",
    "variants",
    multiple=True,
    metavar="[NAME:]KEY=VALUE",
    help="Of a baseline, or of all of them.",
)
@click.option("--explain/--no-explain", default=True, show_default=True, help="Also judge what is said.")
@click.option("--css-encoder", "encoder", metavar="ID", help="A sentence-transformers id or folder for CSS.")
@click.option(
    "--resamples", type=click.IntRange(10, 100_000), default=1000, show_default=True, help="Of the bootstrap."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of noise and bootstrap."
)
@bounds_options
@click.option("--save-maps", is_flag=True, help="Also write every score map as PNG.")
@click.option(
    "--audit/--no-audit", default=True, show_default=True, help="Also audit the data for shortcuts."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
@click.pass_context
def evaluate(ctx: click.Context, /, recipe: Path | None, **options: Any) -> None:
    """Measure detectors on labelled pictures.

    Writes predictions.jsonl, metrics.json and report.html to DIR. A run that was stopped goes on when it is
    started again with the same options; models and perturbations may be added to a finished one.

    \b
    Exit status: 0 every picture was judged, 1 some were left out or could not be judged, or no mask could
    be used (all told on standard error and in the report), 2 wrong usage, 130 interrupted.
    """
    from pixelsleuth.evaluation.run import EvaluateOptions, run_evaluate

    if recipe is not None:
        from pixelsleuth.evaluation.recipes import read_recipe

        options = _with_recipe(options, read_recipe(recipe))
    if not options["data"]:
        raise click.UsageError(
            "No data were given; name them with --data (a manifest, a folder, or hf:owner/name)."
        )
    options["settings"] = settings_of(options["settings"])
    options["models"] = options["models"] or ("compact",)
    options["protocol"] = options["protocol"] or "standard"
    chosen = EvaluateOptions(**options)
    status = run_evaluate(chosen)
    if not chosen.quiet:
        _print_results(chosen.out)
        for name in ("metrics.json", "predictions.jsonl", "report.html"):
            click.echo(str(chosen.out / name))
    ctx.exit(status)


def _print_results(out: Path) -> None:
    """The main figures, or with a recipe the published table beside ours."""
    import json
    import sys

    from pixelsleuth.evaluation.report.table import print_figures
    from pixelsleuth.reporting.terminal import console_for

    console = console_for(sys.stdout)
    result = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    if "table" in result:
        _print_table(result["table"], console)
    else:
        print_figures(result, console)


def _print_table(told: dict[str, Any], console: Console) -> None:
    """The published table beside ours, a row a method, and what was left out."""
    import sys

    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("Method", "", *told["columns"]):
        table.add_column(heading, justify="right" if heading in told["columns"] else "left")
    left_out = [row for row in told["rows"] if row["kind"] == "left out"]
    for row in told["rows"]:
        if row not in left_out:
            name = row["method"] + ("" if row["condition"] == "clean" else f", {row['condition']}")
            figures = (row["figures"].get(column) for column in told["columns"])
            table.add_row(
                escape(name), row["kind"], *("-" if one is None else f"{one:.1f}" for one in figures)
            )
    if not sys.stdout.isatty():
        console.width = WIDE
    console.print(f"[bold]{escape(told['title'])}[/bold]", table, sep="\n")
    for row in left_out:
        console.print(f"Left out: {escape(row['method'])}. {escape(row['note'])}", style="dim")


def _with_recipe(options: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """What the command line leaves open, the recipe decides; its own data are taken only where none are named."""
    told = dict(options)
    if not told["data"]:
        told["data"], told["split"] = recipe.data.get("spec"), told["split"] or recipe.data.get("split")
        told["reader"] = told["reader"] or recipe.data.get("reader")
    told["optional"] = not told["models"] and bool(recipe.models)
    told["models"] = told["models"] or tuple(recipe.models)
    told["perturb"] = tuple(dict.fromkeys((*recipe.perturb, *told["perturb"])))
    told["protocol"] = told["protocol"] or recipe.protocol
    return {**told, "recipe": recipe}
