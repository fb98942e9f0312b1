"""`pixelsleuth summarise`: what a scan or a check found."""

from __future__ import annotations

import click


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="Text with bars, or one JSON object.",
)  # fmt: skip
@click.option(
    "--report", metavar="FILE.html", help="Also write a page: plots and the most suspicious pictures."
)
@click.option(
    "--top", type=click.IntRange(0, 1000), default=50, show_default=True, metavar="N",
    help="Pictures of the page's contact sheet.",
)  # fmt: skip
@click.option(
    "--pictures/--no-pictures", default=True, show_default=True,
    help="Read these pictures again, where they still lie, or show none.",
)  # fmt: skip
@click.option(
    "--export", multiple=True, metavar="FILE",
    help="Also write all rows: .csv, .jsonl (the records of check), .json (COCO masks), .labelstudio.json (tasks with "
    "predictions) or .fiftyone (a folder). Repeatable.",
)  # fmt: skip
@click.option(
    "--root",
    metavar="DIR",
    help="The folder that Label Studio serves (its LOCAL_FILES_DOCUMENT_ROOT); default /.",
)
@click.pass_context
def summarise(
    ctx: click.Context,
    source: str,
    style: str,
    report: str | None,
    top: int,
    pictures: bool,
    export: tuple[str, ...],
    root: str | None,
) -> None:
    """Count what a scan or a check found: labels, confidence, sources, times, errors, duplicates; export it.

    SOURCE is the folder that `pixelsleuth scan --out` filled (the scan may still be running), or a file that
    `pixelsleuth check --format jsonl` wrote.

    \b
    Exit status: 0 all that stands was counted, 1 damaged or foreign parts were left out,
    2 wrong usage or an output that could not be written.
    """
    from pixelsleuth.scale.summarising import SummaryOptions, run_summarise

    ctx.exit(run_summarise(source, SummaryOptions(style, report, export, top, pictures, root)))
