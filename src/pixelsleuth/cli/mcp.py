"""`pixelsleuth mcp`: check, inspect and explain for assistants."""

from __future__ import annotations

from typing import Any

import click

from pixelsleuth.cli.options import (
    device_option,
    megapixels_option,
    needs,
    precision_option,
    trust_option,
)


@click.command()
@click.option(
    "--allow",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Folder whose pictures may be read. Repeatable. Default: the current folder.",
)
@click.option("--model", default="auto", show_default=True, metavar="NAME", help="Detector, see 'models'.")
@device_option
@precision_option
@trust_option
@megapixels_option
@click.option(
    "--allow-fetch",
    is_flag=True,
    help="Let the assistant name a picture by its address on the public web.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    default=25_000_000,
    show_default=True,
    help="Largest picture that is fetched, in bytes.",
)
@click.pass_context
def mcp(ctx: click.Context, /, **options: Any) -> None:
    """Offer check, inspect and explain to an assistant, by the Model Context Protocol on standard streams.

    An assistant starts this command itself; docs/how-to/assistants.md says how to tell it. Only pictures
    inside the folders of --allow are read, wherever links lead.
    """
    with needs("mcp"):
        from pixelsleuth.serving.assistant import AssistantOptions, run_assistant
    ctx.exit(run_assistant(AssistantOptions(**options)))
