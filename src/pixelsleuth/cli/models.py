"""`pixelsleuth models`: the detectors, what they can do and what they need."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pixelsleuth.core.baselines import Facts
    from pixelsleuth.core.catalogue import ModelSpec


PRECISIONS = ("fp32", "bf16", "int8", "int4")


@click.command(short_help="List the detectors and what they need.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def models(style: str) -> None:
    """List the detectors that 'check --model' knows: size, abilities, licence, and whether they are
    installed.
    """
    from pixelsleuth.core.registry import specs

    known = specs()
    if style == "json":
        click.echo(json.dumps([_record(spec) for spec in known], indent=2))
        return
    _print_table(known)


def _record(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "parameters": spec.parameters,
        "download_bytes": spec.download_bytes,
        "capabilities": _abilities(spec),
        "licence": spec.licence,
        "extra": spec.extra,
        "installed": spec.installed,
        "memory_bytes": spec.memory,
    } | _baseline_record(spec)


def _baseline_record(spec: ModelSpec) -> dict[str, Any]:
    facts = spec.facts
    if facts is None:
        return {}
    return {
        "source": facts.source,
        "where": facts.where,
        "files": list(facts.files),
        "made_for": str(facts.made_for),
        "options": {name: list(variants) for name, variants in facts.options.items()},
    }


def _abilities(spec: ModelSpec) -> list[str]:
    from pixelsleuth.core.detector import Capability

    return [str(capability) for capability in Capability if capability in spec.capabilities]


def _print_table(known: list[ModelSpec]) -> None:
    import sys

    from rich.table import Table

    from pixelsleuth.core.errors import install_command
    from pixelsleuth.reporting.terminal import console_for

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold", pad_edge=False)
    for heading in ("Model", "Parameters", "Download", *PRECISIONS, "Can", "Ready"):
        table.add_column(
            heading,
            justify="right" if heading in ("Parameters", "Download", *PRECISIONS) else "left",
            overflow="fold",
        )
    for spec in known:
        table.add_row(
            spec.name,
            short_number(spec.parameters),
            "bundled" if spec.download_bytes == 0 else short_bytes(spec.download_bytes),
            *(short_bytes(spec.memory[name]) if name in spec.memory else "" for name in PRECISIONS),
            ", ".join(_abilities(spec)),
            "yes" if spec.installed else "no",
        )
    console = console_for(sys.stdout)
    console.print(table)
    console.print()
    for spec in known:
        needs = "" if spec.installed else f" Needs, in a clone: {install_command(spec.extra)}"
        licence = f" Licence: {spec.licence}." if spec.licence else ""
        console.print(f"{spec.name}: {spec.summary}{licence}{needs}", markup=False, soft_wrap=True)
        if spec.facts is not None:
            console.print(f"    {_weights_line(spec.facts)}", markup=False, soft_wrap=True)
    console.print("\nfp32 to int4: memory that the model takes at this precision (estimated).")


def _weights_line(facts: Facts) -> str:
    """Source, files, where to get them, and the options with their defaults first."""
    options = "; ".join(f"{name}={'|'.join(variants)}" for name, variants in facts.options.items())
    told = f"From {facts.source}. Weights ({', '.join(facts.files)}): {facts.where}."
    return f"{told} Options: {options}." if options else told


def short_number(value: int | None) -> str:
    """A count of parameters as people write it.

    >>> short_number(7_060_000_000), short_number(2_400_000), short_number(None)
    ('7.1 B', '2.4 M', 'n/a')
    """
    if value is None:
        return "n/a"
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.1f} {name}"
    return str(value)


def short_bytes(value: int | None) -> str:
    """A size in decimal units.

    >>> short_bytes(14_100_000_000), short_bytes(950_000), short_bytes(None)
    ('14.1 GB', '0.9 MB', 'n/a')
    """
    if value is None:
        return "n/a"
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"
