"""`pixelsleuth demo`: forge photographs and check them. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import click

from pixelsleuth.cli.options import device_option


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="pixelsleuth-demo",
    show_default=True,
    metavar="DIR",
    help="Folder for pictures and report.",
)
@click.option(
    "--model",
    default="compact",
    show_default=True,
    metavar="NAME",
    help="Detector, see 'pixelsleuth models'.",
)
@device_option
def demo(out: Path, model: str, device: str) -> None:
    """Forge some of the photographs that come with scikit-image, then check originals and forgeries.

    Prints the truth beside every verdict and writes DIR/report.html. Downloads nothing.
    """
    from pixelsleuth.checking.demonstration import run_demo
    from pixelsleuth.models.registry import load

    run_demo(load(model, device=device), out)
