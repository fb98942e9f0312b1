"""`pixelsleuth chat`: ask a vision-language model about one picture, in the terminal."""

from __future__ import annotations

import click

from pixelsleuth.cli.options import device_option, precision_option


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option(
    "--model",
    default="sida-7b-description",
    show_default=True,
    metavar="NAME",
    help="A model that talks (see 'pixelsleuth models'), a folder, or a hub id.",
)
@device_option
@precision_option
@click.option("--out", metavar="DIR", default="pixelsleuth-chat", show_default=True, help="Folder for masks.")
def chat(image: str, model: str, device: str, precision: str, out: str) -> None:
    """Talk with a vision-language model about IMAGE. The picture is encoded once for all questions.

    An empty line asks the model's own first question. Commands: /image PATH opens another picture, /prompt shows
    what an empty line asks, /help, /quit.
    """
    from pixelsleuth.checking.conversation import Session
    from pixelsleuth.models.registry import load

    Session(lambda: load(model, device, precision=precision), image, out).run()
