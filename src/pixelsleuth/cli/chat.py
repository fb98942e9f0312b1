"""`pixelsleuth chat`: ask a vision-language model about one picture, in the terminal."""

from __future__ import annotations

import click


@click.command(short_help="Talk with a vision-language model about a picture.")
@click.argument("image", metavar="IMAGE")
@click.option(
    "--model",
    default="sida-7b-description",
    show_default=True,
    metavar="NAME",
    help="A model that talks, see 'pixelsleuth models'; a folder; a hub id.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8", "int4"]),
    default="auto",
    show_default=True,
    help="Of the weights.",
)
@click.option(
    "--out", metavar="DIR", default="pixelsleuth-chat", show_default=True, help="Where masks are saved."
)
def chat(image: str, model: str, device: str, precision: str, out: str) -> None:
    """Talk with a vision-language model about IMAGE, which is encoded once however many questions follow.

    An empty line asks the model's own first question. Commands: /image PATH takes another picture, /prompt shows
    what an empty line asks, /help, /quit.
    """
    from pixelsleuth.cli.talk import Session
    from pixelsleuth.models.registry import load

    Session(lambda: load(model, device, precision=precision), image, out).run()
