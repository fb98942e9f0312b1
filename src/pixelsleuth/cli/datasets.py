"""`pixelsleuth datasets`: list the data sets that can be read, show one, verify one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixelsleuth.cli.options import allow_outside, reader_option, set_option, settings_of, style_option
from pixelsleuth.core.progress import progress

if TYPE_CHECKING:
    from pixelsleuth.data.reader import ReaderSpec
    from pixelsleuth.data.verify import Report


@click.group(invoke_without_command=True)
@style_option
@click.pass_context
def datasets(ctx: click.Context, style: str) -> None:
    """List the data sets that can be read: licence, size, classes, how to get them.

    \b
    pixelsleuth datasets show sid_set     one of them, with its settings
    pixelsleuth datasets verify DIR       count, check masks, find duplicates and broken files
    pixelsleuth datasets export DIR --out OUT    a folder for datasets.load_dataset
    """
    if ctx.invoked_subcommand is not None:
        return
    from pixelsleuth.data import layouts

    if style == "json":
        click.echo(json.dumps([_record(spec) for spec in layouts.specs()], indent=2))
        return
    _print_list(layouts.specs())


@datasets.command(short_help="Show one data set and the settings of its reader.")
@click.argument("name")
@style_option
def show(name: str, style: str) -> None:
    """Show the data set NAME: licence, size, classes, how to get it, and the settings of its reader."""
    from pixelsleuth.data import layouts

    spec = layouts.get(name)
    if style == "json":
        click.echo(json.dumps(_record(spec), indent=2))
        return
    for title, text in (
        *(("Name", spec.name), ("Title", spec.title), ("Classes", spec.classes), ("Size", spec.size)),
        *(("Licence", spec.licence), ("Get it", spec.get)),
    ):
        click.echo(f"{title + ':':<10}{text}")
    for key, setting in spec.settings.items():
        default = setting.default or "(empty)"
        choices = f" [{', '.join(setting.choices)}]" if setting.choices else ""
        click.echo(f"{'Setting:':<10}{key}={default}{choices}: {setting.meaning}")


@datasets.command(short_help="Check a data set: count, masks, duplicates, broken files.")
@click.argument("data", metavar="DIR")
@reader_option
@click.option("--split", metavar="NAME", help="Only this split.")
@set_option
@allow_outside
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N pictures.")
@style_option
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.pass_context
def verify(
    ctx: click.Context,
    data: str,
    reader: str | None,
    split: str | None,
    settings: tuple[str, ...],
    allow_outside: bool,
    limit: int | None,
    style: str,
    quiet: bool,
) -> None:
    """Check the data set in DIR (a folder, a manifest, or hf:owner/name) and list what is wrong with it.

    Counts pictures, reads every picture and mask (size, polarity, emptiness), finds duplicates by SHA-256, and
    lists what is missing.

    \b
    Exit status: 0 every picture and mask can be used, 1 some cannot (left out, unreadable, empty mask, one
    picture under two labels), 2 wrong usage, 130 interrupted (the report covers what was read).
    """
    from pixelsleuth.data.readers import open_data
    from pixelsleuth.data.verify import verify as walk

    opened = open_data(data, reader, split, allow_outside=allow_outside, **settings_of(settings))
    report: Report | None = None
    interrupted = False
    with progress("Verifying", quiet=quiet) as bar:
        try:
            for report in walk(opened, limit=limit, step=bar):  # noqa: B007  (only the last is printed)
                pass
        except KeyboardInterrupt:
            interrupted = True
    if report is not None:
        click.echo(json.dumps(report.to_dict(), indent=2) if style == "json" else _text(report))
        report.tally.tell()
    if interrupted:
        click.echo("Interrupted: the report covers what was read so far.", err=True)
        ctx.exit(130)
    ctx.exit(0 if report is not None and report.ok else 1)


@datasets.command(short_help="Write a data set as a folder that `datasets.load_dataset` reads.")
@click.argument("data", metavar="DIR")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--format", "form", type=click.Choice(["parquet", "imagefolder"]), default="parquet", show_default=True,
    help="Parquet shards with the pictures inside, or files with a table beside them.",
)  # fmt: skip
@reader_option
@click.option("--split", metavar="NAME", help="Only this split.")
@set_option
@allow_outside
@click.option(
    "--licence", default="", metavar="NAME", help="The set's licence, by the hub's name, for the card."
)
@click.option(
    "--shard-size",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Pictures of a shard.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.pass_context
def export(
    ctx: click.Context,
    data: str,
    out: Path,
    form: str,
    reader: str | None,
    split: str | None,
    settings: tuple[str, ...],
    allow_outside: bool,
    licence: str,
    shard_size: int,
    quiet: bool,
) -> None:
    """Write the data set in DIR (a folder, a manifest, or hf:owner/name) so that datasets.load_dataset(OUT) reads it.

    Bytes of pictures stay as they are; masks become PNG, 255 = tampered; a data card stands beside.

    \b
    Exit status: 0 every picture was written, 1 some could not be read and are left out, 2 wrong usage.
    """
    from pixelsleuth.data.exporting import export as write
    from pixelsleuth.data.listing import list_data
    from pixelsleuth.reporting.words import printable

    chosen = settings_of(settings)
    listing = list_data(data, split=split, reader=reader, settings=chosen, allow_outside=allow_outside)
    with progress("Exporting", len(listing), quiet=quiet) as bar:
        tally = write(listing, out, form, shard_size=shard_size, licence=licence, step=bar)
    for (name, label), count in sorted(tally.written.items()):
        click.echo(f"{name:<14} {label:<16} {count:>9,}")
    tally.left_out.tell()
    click.echo(f"{printable(str(out))}: {tally.total:,} pictures.")
    ctx.exit(1 if tally.left_out else 0)


def _record(spec: ReaderSpec) -> dict[str, Any]:
    settings = {
        key: {"default": setting.default, "choices": list(setting.choices), "meaning": setting.meaning}
        for key, setting in spec.settings.items()
    }
    return {
        "name": spec.name,
        "title": spec.title,
        "licence": spec.licence,
        "size": spec.size,
        "classes": spec.classes,
        "get": spec.get,
        "hub": list(spec.hubs),
        "expects": dict(spec.expects),
        "settings": settings,
    }


def _print_list(known: tuple[ReaderSpec, ...]) -> None:
    for spec in known:
        click.echo(click.style(spec.name, bold=True) + f": {spec.title}")
        click.echo(f"    {spec.classes}; {spec.size}")
        click.echo(f"    Licence: {spec.licence}. Get it: {spec.get}")


def _text(report: Report) -> str:
    from pixelsleuth.data.verify import ERRORS, WARNINGS
    from pixelsleuth.reporting.words import printable

    lines = [
        f"{printable(report.data)}: {report.samples:,} pictures, read as {report.spec.name} ({report.spec.title})"
    ]
    for (split, label), count in sorted(report.counts.items()):
        lines.append(f"  {split or '(no split)':<14} {label:<16} {count:>9,}")
    lines.append(f"  masks {report.masks:,}, descriptions {report.descriptions:,}")
    for title, kinds in (("Error", ERRORS), ("Note", WARNINGS)):
        for key, words in kinds.items():
            if report.findings[key]:
                lines.append(f"{title}: {report.findings[key]:,} {words}")
                lines += [f"    {printable(path)}" for path in report.examples[key][:3]]
    if report.over_zero:
        lines.append(
            f"    grey masks mark {report.over_half:,} pixels above 127, and would mark {report.over_zero:,} above 0"
        )
    if report.tally:
        lines.append(printable(report.tally.sentence()))
    lines += [f"Missing: {printable(sentence)}" for sentence in report.missing]
    if report.settings:
        lines.append(
            "Settings: " + ", ".join(f"{key}={value or '(empty)'}" for key, value in report.settings.items())
        )
    whole = "" if report.complete else " (of the part that was looked at)"
    used = (
        "Usable" if report.ok else "Usable, less what was left out" if report.sound else "Not usable as it is"
    )
    lines.append(f"{used}{whole}.")
    return "\n".join(lines)
