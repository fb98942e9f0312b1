"""`pixelsleuth models calibrate`: measure a fetched detector's errors, so that a panel may rely on it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "--data", required=True, metavar="MANIFEST", help="Labelled pictures of sources that NAME never saw."
)
@click.option("--split", help="The part of --data to use.")
@click.option("--limit", type=click.IntRange(min=1), help="So many pictures, evenly over the classes.")
@click.option(
    "--shared/--plain",
    default=False,
    show_default=True,
    help="Judge every picture recompressed and reduced as well (three times as long).",
)
def calibrate(name: str, data: str, split: str | None, limit: int | None, shared: bool) -> None:
    """Measure how often the detector NAME is wrong on sources that it never saw, and keep the result beside it.

    Without it, NAME is shown in a panel but decides nothing. The column 'source' of --data is the unit.
    """
    from pixelsleuth.core.settings import nearest
    from pixelsleuth.errors import UsageError
    from pixelsleuth.evaluation.calibrate import KINDS, measure
    from pixelsleuth.evaluation.pictures import choose
    from pixelsleuth.evaluation.protocols import get_protocol
    from pixelsleuth.models import store
    from pixelsleuth.models.facts import FACTS
    from pixelsleuth.models.panel.measured import decision_file, measured_decision, weights_of
    from pixelsleuth.models.registry import load_light_first

    if name not in FACTS:
        raise UsageError(f"No panel has a member {name!r}{nearest(name, FACTS)}")
    if not store.folder(name).is_dir():
        raise UsageError(f"The store holds nothing of {name}: run `pixelsleuth models get {name}` first.")
    detector, made_for = load_light_first(name), FACTS[name].made_for
    pictures = choose(data, get_protocol("standard"), split=split, limit=limit)
    kinds = list(KINDS) if shared else ["photograph"]
    with _progress(len(pictures)) as step:
        rows = measure(detector, (sample for _, sample in pictures), made_for, kinds=kinds, step=step)
    content = rows.to_dict({"name": name, "weights": weights_of(detector)}, kinds)
    path = decision_file(name)
    _write(path, json.dumps(content, separators=(",", ":")))
    click.echo(f"{path}: {len(rows.scores)} judgements, {len(rows.sources)} sources.")
    if rows.unreadable:
        click.echo(f"{rows.unreadable} pictures could not be read and were left out.")
    measured = measured_decision(name, detector)
    assert measured is not None, "it was just written"
    click.echo(f"{name}, {made_for}: {measured.sentence(made_for)}.")
    click.echo("This holds for sources that the detector never saw; nobody but you can know that of these.")


def _write(path: Path, text: str) -> None:
    from pixelsleuth.errors import OutputError

    partial = path.with_name(f"{path.name}.part")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); free some space.") from None


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, where someone is there to see it."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import Progress

    from pixelsleuth.reporting.terminal import console_for

    with Progress(console=console_for(stderr=True), transient=True) as bar:
        task = bar.add_task("Measuring", total=total)
        yield lambda: bar.advance(task)
