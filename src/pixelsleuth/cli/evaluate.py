"""`pixelsleuth evaluate`: measure detectors on labelled pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixelsleuth.cli.options import (
    allow_outside,
    bounds_options,
    device_option,
    engine_from,
    engine_options,
    reader_option,
    set_option,
    settings_of,
)

if TYPE_CHECKING:
    from pixelsleuth.evaluation.recipes import Recipe


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Detector, as for check. Repeatable. Default: compact.",
)
@click.option("--data", metavar="DATA", help="A manifest, a folder in a known layout, or hf:owner/name.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the results."
)
@click.option("--split", metavar="NAME", help="Only this part of the data.")
@reader_option
@set_option
@allow_outside
@click.option(
    "--perturb",
    multiple=True,
    metavar="SPEC",
    help="Also judge the pictures after this change, such as jpeg:70 or resize:0.5. Repeatable.",
)
@click.option(
    "--protocol", metavar="NAME", help="standard (default), sida, sida_tables, fakevlm, so_fake or imdl."
)
@click.option("--raw", is_flag=True, help="Do not equalise; judge the files' own pixels.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A published table to compare with (recipes/tables); the command line overrides what it names.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use N pictures, as evenly over the classes as possible, always the same ones.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help="Pictures judged at once.",
)
@device_option
@click.option(
    "--weights",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Weights of a baseline: its file or folder. Of several: NAME=FILE for each, or the folder "
    "that holds all.",
)
@click.option(
    "--option",
    "variants",
    multiple=True,
    metavar="[NAME:]KEY=VALUE",
    help="Option of a baseline; without a name, of every model. Repeatable.",
)
@click.option("--explain/--no-explain", default=True, show_default=True, help="Also score the explanations.")
@click.option(
    "--css-encoder",
    "encoder",
    metavar="ID",
    help="A sentence-transformers id or folder; CSS is computed only with one.",
)
@click.option(
    "--resamples", type=click.IntRange(10, 100_000), default=1000, show_default=True, help="Bootstrap draws."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of noise and bootstrap."
)
@bounds_options
@click.option("--save-maps", is_flag=True, help="Also write every score map as PNG, to maps/.")
@click.option(
    "--audit/--no-audit",
    default=True,
    show_default=True,
    help="Also audit the data for shortcuts, from 30 pictures on.",
)
@engine_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
@click.pass_context
def evaluate(ctx: click.Context, /, recipe: Path | None, **options: Any) -> None:
    """Measure detectors on labelled pictures.

    Writes predictions.jsonl, metrics.json, report.html and explorer.html to DIR. The same command continues an
    interrupted run; models and perturbations may be added to a finished one.

    \b
    Exit status: 0 every picture was judged, 1 some were left out or could not be judged, or no mask could be
    used (standard error and the report say which), 2 wrong usage, 130 interrupted.
    """
    from pixelsleuth.evaluation.run import EvaluateOptions, run_evaluate

    if recipe is not None:
        from pixelsleuth.evaluation.recipes import read_recipe

        options = _with_recipe(options, read_recipe(recipe))
    if not options["data"]:
        raise click.UsageError("No data were named; use --data (a manifest, a folder, or hf:owner/name).")
    options["settings"] = settings_of(options["settings"])
    options["models"] = options["models"] or ("compact",)
    options["protocol"] = options["protocol"] or "standard"
    with engine_from(options) as engine:
        chosen = EvaluateOptions(**options)
        status = run_evaluate(chosen, engine)
    if not chosen.quiet:
        _print_results(chosen.out)
        for name in ("metrics.json", "predictions.jsonl", "report.html", "explorer.html"):
            if (chosen.out / name).exists():
                click.echo(str(chosen.out / name))
    ctx.exit(status)


def _print_results(out: Path) -> None:
    """Print the main figures or, with a recipe, the published table beside ours."""
    from pixelsleuth.evaluation.report.table import print_figures, print_published
    from pixelsleuth.reporting.terminal import console_for

    console = console_for(sys.stdout)
    result = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    if "table" in result:
        print_published(result["table"], console)
    else:
        print_figures(result, console)


def _with_recipe(options: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Options that the command line leaves open are the recipe's. Its data are used only where none are named."""
    filled = dict(options)
    if not filled["data"]:
        filled["data"] = recipe.data.get("spec")
        filled["split"] = filled["split"] or recipe.data.get("split")
        filled["reader"] = filled["reader"] or recipe.data.get("reader")
    filled["optional"] = not filled["models"] and bool(recipe.models)
    filled["models"] = filled["models"] or tuple(recipe.models)
    filled["perturb"] = tuple(dict.fromkeys((*recipe.perturb, *filled["perturb"])))
    filled["protocol"] = filled["protocol"] or recipe.protocol
    return {**filled, "recipe": recipe}
