"""`pixelsleuth models get` and `models remove`: weights into the store, and out of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pixelsleuth.models.catalogue import ModelSpec
    from pixelsleuth.models.fetching.transfer import Watch
    from pixelsleuth.models.store import Entry


@click.command("get", short_help="Fetch a detector's weights, or those of the best small set: auto.")
@click.argument("name", metavar="NAME|auto")
@click.option(
    "--from", "source", metavar="FOLDER|URL", help="A mirror: a folder, or an address, in place of the hub."
)
@click.option("--accept-licence", is_flag=True, help="You have read the licence, and may use the weights.")
@click.option("--force", is_flag=True, help="Fetch again what is there already.")
@click.option(
    "--own-weights",
    "own",
    is_flag=True,
    help="--from holds weights of your own: published hashes do not count.",
)
def get(name: str, source: str | None, accept_licence: bool, force: bool, own: bool) -> None:
    """Fetch the weights of a detector into the store, from where 'check --model NAME' takes them.

    Hashes are checked; what was cut goes on with the same command.

    \b
    pixelsleuth models get commfor
    pixelsleuth models get commfor --from /media/mirror
    """
    from pixelsleuth.models.fetching.fetch import fetch

    for spec in _chosen(name):
        _announce(spec)
        with _watching() as watch:
            entry = fetch(
                spec, source=source, accept_licence=accept_licence, force=force, own=own, watch=watch
            )
        _tell(entry)


@click.command("remove", short_help="Delete fetched weights.")
@click.argument("name")
def remove(name: str) -> None:
    """Delete a detector's weights from the store, with all that was made of them."""
    from pixelsleuth.cli.models import short_bytes
    from pixelsleuth.models import store

    freed = store.remove(name)
    click.echo(f"Removed {name} ({short_bytes(freed)}) from {store.folder(name).parent}.")


def _chosen(name: str) -> list[ModelSpec]:
    """The detectors that a name stands for. Raises UnknownModel."""
    from pixelsleuth.core.settings import nearest
    from pixelsleuth.errors import UnknownModel
    from pixelsleuth.models.origins import AUTO
    from pixelsleuth.models.registry import specs

    known = {spec.name: spec for spec in specs()}
    wanted = AUTO if name == "auto" else (name,)
    if name != "auto" and name not in known:
        raise UnknownModel(f"There is no model {name!r}{nearest(name, [*known, 'auto'])}.")
    return [known[one] for one in wanted]


def _announce(spec: ModelSpec) -> None:
    """Say what is to come, and under which licence, before a byte of it does."""
    from pixelsleuth.cli.models import short_bytes

    if spec.origins:
        pages = ", ".join(origin.page for origin in spec.origins)
        size = short_bytes(sum(origin.bytes for origin in spec.origins) or None)
        click.echo(
            f"{spec.name}: {size}, licence: {spec.licence or 'unknown'}; published at {pages}.", err=True
        )


def _tell(entry: Entry) -> None:
    vouched = {
        "pinned": "the hash that this version knows",
        "server": "the hash that the server states; it is written down",
        "first use": "no hash: nobody states one, so this one is written down",
    }
    weakest = max((stored.checked for stored in entry.files.values()), key=list(vouched).index)
    revision = f", revision {entry.revision[:12]}" if entry.revision else ""
    click.echo(f"{entry.name} is ready in {entry.folder}{revision}; checked against {vouched[weakest]}.")


@contextmanager
def _watching() -> Iterator[Watch]:
    """A progress bar on standard error, where someone is there to see it."""
    from pixelsleuth.models.fetching.transfer import Watch

    if not sys.stderr.isatty():
        yield Watch()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from pixelsleuth.reporting.terminal import console_for

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console_for(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        class Bar(Watch):
            def begin(self, name: str, size: int, done: int) -> None:
                progress.reset(task, total=size, completed=done, description=Path(name).name)

            def step(self, size: int) -> None:
                progress.advance(task, size)

        yield Bar()
