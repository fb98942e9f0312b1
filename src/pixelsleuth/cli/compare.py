"""`pixelsleuth compare`: paired differences of two evaluations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from pixelsleuth.cli.options import style_option


@click.command()
@click.argument("first", type=click.Path(path_type=Path), metavar="A")
@click.argument("second", type=click.Path(path_type=Path), metavar="B")
@click.option(
    "--condition", default="clean", show_default=True, help="clean, or a perturbation that both runs have."
)
@style_option
@click.option(
    "--resamples", type=click.IntRange(10, 100_000), default=1000, show_default=True, help="Bootstrap draws."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the bootstrap."
)
def compare(first: Path, second: Path, condition: str, style: str, resamples: int, seed: int) -> None:
    """Compare the models of folder B with those of folder A, picture by picture.

    'evaluate' wrote A and B on the same pictures. Differences are B minus A.
    """
    from pixelsleuth.evaluation.differences import compare_runs
    from pixelsleuth.evaluation.report.table import print_differences
    from pixelsleuth.evaluation.summary import as_json
    from pixelsleuth.reporting.terminal import console_for

    differences = compare_runs(first, second, condition=condition, resamples=resamples, seed=seed)
    if style == "json":
        click.echo(as_json({"condition": condition, "differences": differences}), nl=False)
        return
    for pair in json.loads(as_json({"all": differences}))["all"]:
        print_differences(pair, condition, console_for(sys.stdout))
