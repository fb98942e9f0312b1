"""`pixelsleuth scan`: judge everything in a large place."""

from __future__ import annotations

from typing import Any

import click

from pixelsleuth.cli.options import (
    FiniteFloat,
    bounds_options,
    device_option,
    engine_options,
    evidence_option,
    explain_option,
    megapixels_option,
    precision_option,
    trust_option,
)


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option("--out", required=True, metavar="DIR", help="Folder for the plan and the parts.")
@click.option(
    "--model", default="auto", show_default=True, metavar="NAME", help="Detector, see 'pixelsleuth models'."
)
@engine_options
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the scan in --out: judge the shards that are missing; begin where there is no scan.",
)
@click.option(
    "--rejudge", is_flag=True, help="Keep the plan, drop the parts of another model or of other settings."
)
@click.option(
    "--retry-errors",
    is_flag=True,
    help="Go on, and judge shards again in which an input could not be read or decoded in time.",
)
@click.option(
    "--where",
    metavar="CONDITION",
    help="Only rows of a manifest for which this holds, such as 'source == \"x\"'.",
)
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N inputs, drawn at random.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --sample.")
@click.option(
    "--dedup",
    type=click.Choice(["sha256", "phash"]),
    help="Judge one of equal inputs: of the same bytes, or of the same look (perceptual hash).",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1, 100_000),
    default=500,
    show_default=True,
    help="Inputs of a shard: an interruption loses those under way.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Decoding processes. Default: one a core. With Ray: those of an actor, and the CPUs that it takes.",
)
@device_option
@precision_option
@click.option(
    "--weights", metavar="FILE", help="Weights of a baseline: its file, or the folder of its files."
)
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of a baseline. Repeatable."
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
@click.option("--heat-maps", is_flag=True, help="Keep the heat map of each picture in its row, too.")
@click.option(
    "--judge-seconds",
    type=FiniteFloat(min=1),
    default=1800.0,
    show_default=True,
    metavar="SECONDS",
    help="Time that the detector may take for a picture, before its process is replaced.",
)
@bounds_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no notices, no summary.")
@click.pass_context
def scan(ctx: click.Context, /, source: str, **options: Any) -> None:
    """Judge everything in SOURCE into Parquet files: one row an input, resumable at any moment.

    SOURCE is a folder tree, a list (.txt: a path a line), a manifest (.parquet, .csv, .jsonl with a column path), an
    archive (.tar), or an address (s3://bucket/prefix, hf:owner/name).

    \b
    Exit status: 0 every picture was judged, 1 some could not be read (their rows say why),
    2 wrong usage or a folder that could not be written, 130 stopped (Ctrl-C, SIGTERM, SIGHUP).
    """
    from dataclasses import replace

    from pixelsleuth.scale.supervisor import Run, supervised

    def work(run: Run | None = None) -> int:
        from pixelsleuth.scale.scanning import ScanOptions, run_scan

        chosen = ScanOptions(**options)
        return run_scan(source, replace(chosen, resume=True) if run and run.successor else chosen, run)

    def say(text: str) -> None:
        if not options["quiet"]:
            click.echo(text, err=True)

    # With Ray the judges are actors, which Ray replaces.
    ctx.exit(work() if options["engine"] == "ray" else supervised(work, say))
