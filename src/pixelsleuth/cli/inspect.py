"""`pixelsleuth inspect`: what files say by themselves, no model."""

from __future__ import annotations

import click

from pixelsleuth.cli.options import Names, expand_stdin, trust_option


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "jsonl"]),
    default="text",
    show_default=True,
    help="Text, one JSON array, or one JSON record a line.",
)
@trust_option
@click.option(
    "--enhance",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Also write pictures to look at (error level, noise, gradient, JPEG ghosts) to this folder; no finding.",
)
@click.option(
    "--report",
    metavar="FILE.html",
    help="Also write a self-contained page: every finding with its picture, and pictures to look at.",
)
@click.option("--fast", is_flag=True, help="Leave out what only the decoded pixels show.")
@click.option(
    "--fail-on",
    type=Names("generated", "edited_by_ai"),
    default=(),
    metavar="NAMES",
    help="End with status 3 where a file declares that it is one of these, such as generated,edited_by_ai.",
)
@click.pass_context
def inspect(
    ctx: click.Context,
    paths: tuple[str, ...],
    style: str,
    trust_list: str | None,
    enhance: str | None,
    report: str | None,
    fast: bool,
    fail_on: tuple[str, ...],
) -> None:
    """Say what picture files declare and show by themselves: generators, editors, cameras, signatures, JPEG grids.

    No model judges, nothing goes online.

    PATH is a picture, a folder (searched recursively) or '-' (paths from standard input). Metadata can
    be written and removed by anybody: what they say is a declaration. Finding nothing means nothing.

    Exit status: 0 every file was read, 1 some could not be read, 2 wrong usage, 3 a file declares what
    --fail-on names.
    """
    from pixelsleuth.checking.inspecting import run_inspect

    status = run_inspect(
        expand_stdin(paths), style, trust_list, enhance=enhance, report=report, fast=fast, fail_on=fail_on
    )
    ctx.exit(status)
