"""`pixelsleuth audit`: how much of a data set's labels can be told without looking at the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pixelsleuth.cli.options import allow_outside, reader_option, set_option, settings_of


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for audit.json and report.html.",
)
@click.option(
    "--split", metavar="NAME", help="Audit only this split, such as train. Default: all together, then each."
)
@reader_option
@set_option
@allow_outside
@click.option(
    "--equalise/--no-equalise",
    default=True,
    show_default=True,
    help="Audit again after equalising size, container and compression.",
)
@click.option(
    "--size",
    default="crop:256",
    show_default=True,
    metavar="RULE",
    help="Size rule of the equalised part: native, crop:SIDE or fit:SIDE. Only a crop gives all files "
    "one size.",
)
@click.option(
    "--quality",
    default="75:95",
    show_default=True,
    metavar="LOW:HIGH",
    help="JPEG quality of the equalised part.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Audit N pictures, evenly over the classes."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of folds, draws and --limit.")
@click.option(
    "--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Threads that read pictures."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.pass_context
def audit(ctx: click.Context, /, settings: tuple[str, ...], **options: Any) -> None:
    """Predict the label of every picture in DATA from its header alone, its text alone and its thumbnail alone.

    DATA is a manifest, a folder in a known layout, or hf:owner/name. An AUROC near 0.5 is good; near 1, a detector
    can reach the labels without learning anything about forgeries.

    \b
    Exit status: 0 audited, 1 audited, but some pictures were left out or could not be read, 2 wrong usage.
    """
    from pixelsleuth.evaluation.audit.auditing import AuditOptions, run_audit

    ctx.exit(run_audit(AuditOptions(**options, settings=settings_of(settings))))
