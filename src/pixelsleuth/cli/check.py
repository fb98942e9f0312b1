"""`pixelsleuth check`: judge pictures."""

from __future__ import annotations

from typing import Any

import click

from pixelsleuth.cli.options import (
    Names,
    bounds_options,
    device_option,
    evidence_option,
    expand_stdin,
    explain_option,
    megapixels_option,
    needs,
    precision_option,
    trust_option,
)


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--model",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Detector, see 'pixelsleuth models'. auto: the bundled detector with the fetched ones. Also "
    "a folder, a hub id, or http://HOST[#MODEL], a service.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "jsonl"]),
    default="text",
    show_default=True,
    help="Text, one JSON array, or one JSON record a line.",
)
@click.option("--report", metavar="FILE.html", help="Also write a self-contained HTML report.")
@click.option(
    "--save-masks",
    metavar="DIR",
    help="Also write the mask of every conclusively tampered picture as PNG (255 = tampered).",
)
@click.option(
    "--output",
    metavar="FILE",
    help="Write text or records to FILE instead of standard output; only a file of such verdicts is "
    "replaced.",
)
@click.option(
    "--resume", is_flag=True, help="Keep the records in --output (JSON lines); judge only what is missing."
)
@click.option(
    "--watch",
    is_flag=True,
    help="Go on with pictures that arrive in the named folders, until Ctrl-C; resumes as --resume does.",
)
@device_option
@precision_option
@click.option(
    "--weights",
    metavar="FILE",
    help="Weights of a baseline: its file, or the folder of its files. Not needed for fetched ones.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of a baseline, such as planes=rgb for mvss_net; see 'pixelsleuth models'. Repeatable.",
)
@explain_option
@evidence_option
@trust_option
@megapixels_option
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1024),
    help="Pictures judged at once; without it one, or with the bundled detector one for each core.",
)
@bounds_options
@click.option(
    "--fail-on",
    type=Names("real", "full_synthetic", "tampered", "inconclusive"),
    default=(),
    metavar="LABELS",
    help="End with status 3 where a verdict is one of these, such as full_synthetic,tampered.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no notices, no summary.")
@click.pass_context
def check(ctx: click.Context, /, paths: tuple[str, ...], **options: Any) -> None:
    """Judge pictures and folders of pictures: real, wholly generated or tampered; where and why.

    PATH is a picture, a folder (searched recursively) or '-' (paths from standard input, one a line).

    \b
    Exit status: 0 every picture was judged, 1 some could not be read (the others were judged),
    2 wrong usage or an output that could not be written, 3 a verdict that --fail-on names,
    130 stopped (Ctrl-C, SIGTERM, SIGHUP).
    """
    from pixelsleuth.checking.runner import CheckOptions, run_check

    if options["watch"]:
        with needs("watch"):
            import watchfiles  # noqa: F401  (asked for before the model is loaded)
    if not paths:
        raise click.UsageError(
            "No picture was given; name a picture, a folder, or - to read paths from standard input."
        )
    ctx.exit(run_check(expand_stdin(paths), CheckOptions(**options)))
