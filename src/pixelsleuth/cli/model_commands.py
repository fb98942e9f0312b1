"""`pixelsleuth models get | remove | convert | calibrate`: what can be done with a detector's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixelsleuth.cli.options import needs
from pixelsleuth.core.progress import progress
from pixelsleuth.reporting.words import short_bytes

if TYPE_CHECKING:
    from pixelsleuth.models.catalogue import ModelSpec
    from pixelsleuth.models.facts import Facts
    from pixelsleuth.models.store import Entry


@click.command(short_help="Fetch the weights of one detector, or of the best small set: auto.")
@click.argument("name", metavar="NAME|auto")
@click.option("--from", "source", metavar="FOLDER|URL", help="Fetch from this mirror instead of the hub.")
@click.option("--accept-licence", is_flag=True, help="You have read the licence and may use the weights.")
@click.option("--force", is_flag=True, help="Fetch again what is already there.")
@click.option(
    "--own-weights",
    "own",
    is_flag=True,
    help="--from holds your own weights: do not compare them with the published hashes.",
)
def get(name: str, source: str | None, accept_licence: bool, force: bool, own: bool) -> None:
    """Fetch the weights of a detector into the store, where 'check --model NAME' looks for them.

    Hashes are checked. The same command continues an interrupted download.

    \b
    pixelsleuth models get commfor
    pixelsleuth models get commfor --from /media/mirror
    """
    from pixelsleuth.core.names import suggestion
    from pixelsleuth.errors import UnknownModel
    from pixelsleuth.models.catalogue import AUTO
    from pixelsleuth.models.fetching.fetch import fetch
    from pixelsleuth.models.registry import specs

    known = {spec.name: spec for spec in specs()}
    if name != "auto" and name not in known:
        raise UnknownModel(f"There is no model {name!r}{suggestion(name, [*known, 'auto'])}.")
    for spec in [known[member] for member in (AUTO if name == "auto" else (name,))]:
        _announce(spec)
        with progress("", size=True) as bar:
            entry = fetch(spec, source=source, accept_licence=accept_licence, force=force, own=own, bar=bar)
        _report(entry)


def _announce(spec: ModelSpec) -> None:
    """Print size, licence and page before anything is fetched."""
    if spec.origins:
        pages = ", ".join(origin.page for origin in spec.origins)
        size = short_bytes(sum(origin.bytes for origin in spec.origins) or None)
        licence = spec.licence or "unknown"
        click.echo(f"{spec.name}: {size}, licence: {licence}; published at {pages}.", err=True)


def _report(entry: Entry) -> None:
    """Print where the weights are and what their hashes were compared with."""
    hashes = {
        "pinned": "the hash that this version knows",
        "server": "the hash that the server states; it is written down",
        "first use": "no hash: nobody states one, so this one is written down",
    }
    weakest = max((stored.checked for stored in entry.files.values()), key=list(hashes).index)
    revision = f", revision {entry.revision[:12]}" if entry.revision else ""
    click.echo(f"{entry.name} is ready in {entry.folder}{revision}; checked against {hashes[weakest]}.")


@click.command(short_help="Delete fetched weights.")
@click.argument("name")
def remove(name: str) -> None:
    """Delete a detector's weights from the store, with everything that was made from them."""
    from pixelsleuth.models import store

    freed = store.remove(name)
    click.echo(f"Removed {name} ({short_bytes(freed)}) from {store.folder(name).parent}.")


@click.command(short_help="Convert a baseline to ONNX, to run without torch.")
@click.argument("name")
@click.option("--onnx", is_flag=True, help="Target format; ONNX is the only one.")
@click.option("--weights", metavar="FILE", help="Published weights. Default: those in the store.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="See 'pixelsleuth models'.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write. Default: the store, where --model NAME looks for it.",
)
@click.option(
    "--int8", is_flag=True, help="Keep 8-bit weights if they cost less than half a point (needs --data)."
)
@click.option("--data", metavar="MANIFEST", help="Labelled pictures on which the cost of 8 bits is measured.")
@click.option("--split", help="The part of --data to use.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=400, show_default=True, help="Pictures of --data."
)
def convert(
    name: str,
    onnx: bool,
    weights: str | None,
    options: tuple[str, ...],
    out: Path | None,
    int8: bool,
    data: str | None,
    split: str | None,
    limit: int,
) -> None:
    """Convert the baseline NAME to ONNX, so that it runs where torch is not installed.

    The graph is kept only if ONNX Runtime gives torch's answers.
    """
    from pixelsleuth.core.names import suggestion
    from pixelsleuth.errors import OutputError, UsageError
    from pixelsleuth.models.facts import FACTS
    from pixelsleuth.models.light.form import ensure_convertible
    from pixelsleuth.models.registry import options_of, spec_named, weights_at

    if not onnx:
        raise UsageError(f"Name the format: pixelsleuth models convert {name} --onnx")
    if int8 and data is None:
        raise UsageError(
            "--int8 is kept only where it costs less than half a point of balanced accuracy; name labelled pictures "
            "with --data to measure that."
        )
    if name not in FACTS:
        raise UsageError(f"There is no baseline {name!r}{suggestion(name, FACTS)}")
    facts = FACTS[name]
    ensure_convertible(facts)
    variant = facts.variant(options_of([name], options)[name])
    folder = _target(name, out)
    try:
        with needs("train"):
            from pixelsleuth.models.convert import convert as to_onnx
            from pixelsleuth.models.convert import load_for_conversion

            published = weights_at(facts, weights, spec_named(name))
            network = load_for_conversion(name, published, variant)
            detector = to_onnx(network, name, folder, weights=_digests(Path(published), facts))
            click.echo(f"{folder}: {facts.title} in fp32, equal to torch.")
            if int8 and data is not None:
                from pixelsleuth.evaluation.measuring import quantise_if_cheap

                figures = quantise_if_cheap(detector, folder, data, split, limit)
                click.echo(f"{folder}: now int8; {figures}.")
    except OSError as error:
        raise OutputError(
            f"Cannot write to {folder}: {error.strerror}. Name a folder that can be written."
        ) from None
    click.echo(f"Use it: pixelsleuth check PICTURE --model {name if out is None else folder}")


def _target(name: str, out: Path | None) -> Path:
    """The folder to write. Raises OutputError where it holds anything but a converted detector."""
    from pixelsleuth.errors import OutputError
    from pixelsleuth.models import store
    from pixelsleuth.models.light.detector import CONVERTED
    from pixelsleuth.models.light.form import SETTINGS

    if out is None:
        return store.folder(name) / CONVERTED
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / SETTINGS).is_file())):
        raise OutputError(f"{out} exists and is no converted detector; name another folder.")
    return out


def _digests(weights: Path, facts: Facts) -> dict[str, str]:
    """File name -> SHA-256 of the files that the weights were read from."""
    from pixelsleuth.core.io import sha256_of

    files = (
        [weights]
        if weights.is_file()
        else [weights / name for name in facts.files if (weights / name).is_file()]
    )
    return {path.name: sha256_of(path) for path in files}


@click.command(short_help="Measure a fetched detector's errors, so that 'auto' may rely on it.")
@click.argument("name")
@click.option(
    "--data", required=True, metavar="MANIFEST", help="Labelled pictures from sources that NAME never saw."
)
@click.option("--split", help="The part of --data to use.")
@click.option("--limit", type=click.IntRange(min=1), help="Use this many pictures, evenly over the classes.")
@click.option(
    "--shared/--plain",
    default=False,
    show_default=True,
    help="Also judge every picture recompressed and reduced (three times as long).",
)
def calibrate(name: str, data: str, split: str | None, limit: int | None, shared: bool) -> None:
    """Measure how often the detector NAME is wrong on sources that it never saw, and store the result beside it.

    Without it, a panel shows NAME's score but NAME decides nothing. --data needs the column 'source', the unit of the
    measurement.
    """
    from pixelsleuth.core.io import write_text
    from pixelsleuth.core.names import suggestion
    from pixelsleuth.errors import UsageError
    from pixelsleuth.evaluation.measuring import KINDS, measure_decision
    from pixelsleuth.evaluation.pictures import choose
    from pixelsleuth.evaluation.protocols import get_protocol
    from pixelsleuth.models import store
    from pixelsleuth.models.facts import FACTS
    from pixelsleuth.models.panel.measured import decision_file, measured_decision, weights_of
    from pixelsleuth.models.registry import load_light_first

    if name not in FACTS:
        raise UsageError(f"No panel has a member {name!r}{suggestion(name, FACTS)}")
    if not store.folder(name).is_dir():
        raise UsageError(f"The store holds nothing of {name}: run `pixelsleuth models get {name}` first.")
    detector, made_for = load_light_first(name), FACTS[name].made_for
    pictures = choose(data, get_protocol("standard"), split=split, limit=limit)
    kinds = list(KINDS) if shared else ["photograph"]
    with progress("Measuring", len(pictures)) as bar:
        samples = (sample for _, sample in pictures)
        rows = measure_decision(detector, samples, made_for, kinds=kinds, step=bar)
    content = rows.to_dict({"name": name, "weights": weights_of(detector)}, kinds)
    path = decision_file(name)
    write_text(path, json.dumps(content, separators=(",", ":")) + "\n", kind="measurement")
    click.echo(f"{path}: {len(rows.scores)} judgements, {len(rows.sources)} sources.")
    if rows.unreadable:
        click.echo(f"{rows.unreadable} pictures could not be read and were left out.")
    measured = measured_decision(name, detector)
    assert measured is not None, "it was just written"
    click.echo(f"{name}, {made_for}: {measured.sentence(made_for)}.")
    click.echo(
        "This holds only for sources that the detector never saw; only you know whether these are such."
    )
