"""`pixelsleuth forge`: build a labelled data set from photographs; review it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pixelsleuth.cli.options import allow_outside, engine_from, engine_options


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.yaml")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--review", is_flag=True, help="Open a local page to accept, reject and correct pictures.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8770, show_default=True, help="Port of the review page."
)
@allow_outside
@engine_options
@click.option("-q", "--quiet", is_flag=True, help="No progress bars.")
@click.pass_context
def forge(
    ctx: click.Context,
    /,
    config: Path,
    overrides: tuple[str, ...],
    review: bool,
    port: int,
    allow_outside: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Turn photographs into real, full synthetic and tampered pictures, with masks and descriptions.

    The same command continues an interrupted run and ends with the same files.

    \b
    pixelsleuth forge recipes/forge/local.yaml photographs=DIR out=runs/forge
    pixelsleuth forge recipes/forge/local.yaml photographs=DIR out=runs/forge --review
    """
    from importlib.util import find_spec

    from pixelsleuth.errors import MissingExtra

    for module, package in (("cv2", "opencv-python-headless"), ("yaml", "pyyaml")):
        if find_spec(module) is None:
            raise MissingExtra(package, "forge")
    from pixelsleuth.forge.configuration import read_config

    settings = read_config(config, [*overrides, *(["allow_outside=true"] * allow_outside)])
    if review:
        from pixelsleuth.forge.review.server import serve_review

        serve_review(settings, port=port, say=_say)
        return
    from pixelsleuth.forge.pipeline import run_forge

    with engine_from(options) as engine:
        run_forge(settings, say=lambda line: None if quiet else _say(line), quiet=quiet, engine=engine)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
