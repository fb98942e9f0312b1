"""`pixelsleuth models`: list the detectors, what they can do and what they still need."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pixelsleuth.cli.model_commands import calibrate, convert, get, remove
from pixelsleuth.cli.options import style_option
from pixelsleuth.reporting.words import short_bytes, short_number

if TYPE_CHECKING:
    from pixelsleuth.models.catalogue import ModelSpec
    from pixelsleuth.models.facts import Facts
    from pixelsleuth.models.store import Entry


@click.group(invoke_without_command=True)
@style_option
@click.pass_context
def models(context: click.Context, style: str) -> None:
    """List the detectors that 'check --model' knows, the ready ones first: size, abilities, licence, and what they
    still need.
    """
    if context.invoked_subcommand is not None:
        return
    from pixelsleuth.models.registry import specs

    known = sorted(map(_state, specs()), key=lambda state: (len(state.needs), state.spec.download_bytes or 0))
    if style == "json":
        click.echo(json.dumps([_record(state) for state in known], indent=2))
        return
    _print_table(known)


for command in (get, remove, convert, calibrate):
    models.add_command(command)


@dataclass(frozen=True)
class State:
    """A detector, its weights in the store, the steps that it still needs in order, and what is damaged."""

    spec: ModelSpec
    entry: Entry | None
    needs: tuple[str, ...]
    damage: str = ""


def _state(spec: ModelSpec) -> State:
    from pixelsleuth.errors import DamagedWeights
    from pixelsleuth.models import store

    entry, damage = None, ""
    if spec.origins:
        try:
            entry = store.ready(spec.name)
        except DamagedWeights as error:
            damage = str(error)
    runs = spec.installed or (spec.facts is not None and spec.facts.light)
    needs: tuple[str, ...] = () if runs else (f"extra {spec.extra}",)
    if entry is None and spec.origins:
        needs += ("get",)
    elif entry is None and spec.facts is not None:
        needs += ("weights", "by hand")  # two steps, to sort these last
    elif spec.download_bytes and entry is None:
        needs += ("first use",)
    if spec.facts is not None and (store.folder(spec.name) / "onnx" / "detector.json").is_file():
        needs = ()  # converted: neither torch nor the published file is needed any more
    return State(spec, entry, needs, damage)


def _record(state: State) -> dict[str, Any]:
    spec, entry = state.spec, state.entry
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
        "ready": not state.needs,
        "where": str(entry.folder) if entry is not None else None,
        "revision": entry.revision if entry is not None else None,
        "fetched_by": f"pixelsleuth models get {spec.name}" if spec.origins else None,
    } | _baseline_record(spec)


def _baseline_record(spec: ModelSpec) -> dict[str, Any]:
    facts = spec.facts
    if facts is None:
        return {}
    return {
        "source": facts.source,
        "weights": facts.where,
        "files": list(facts.files),
        "made_for": str(facts.made_for),
        "options": {name: list(variants) for name, variants in facts.options.items()},
    }


def _abilities(spec: ModelSpec) -> list[str]:
    from pixelsleuth.core.detector import Capability

    return [str(capability) for capability in Capability if capability in spec.capabilities]


def _print_table(known: list[State]) -> None:
    import sys

    from rich.table import Table

    from pixelsleuth.errors import install_command
    from pixelsleuth.reporting.terminal import console_for

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("Model", no_wrap=True)
    table.add_column("Weights", justify="right", no_wrap=True)
    table.add_column("Can")
    table.add_column("Ready")
    for state in known:
        spec = state.spec
        size = "bundled" if spec.download_bytes == 0 else short_bytes(spec.download_bytes)
        needs = ", ".join(state.needs).replace("weights, by hand", "weights")
        table.add_row(spec.name, size, ", ".join(_abilities(spec)), f"needs {needs}" if needs else "yes")
    console = console_for(sys.stdout)
    console.print(table)
    extras = sorted({state.spec.extra for state in known if not state.spec.installed and state.spec.extra})
    legend = [f"extra {extra}: run in a clone {install_command(extra)}" for extra in extras]
    legend += [
        "get: pixelsleuth models get NAME",
        "weights: download them yourself, see below; then --weights FILE",
        "first use: fetched automatically on first use",
    ]
    console.print()
    for line in legend:
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    for state in known:
        _print_details(state, console)


def _print_details(state: State, console: Any) -> None:
    from pixelsleuth.errors import install_command

    spec, entry = state.spec, state.entry
    needs = "" if spec.installed else f" Needs, in a clone: {install_command(spec.extra)}"
    licence = f" Licence: {spec.licence}." if spec.licence else ""
    size = f" {short_number(spec.parameters)} parameters" if spec.parameters else ""
    memory = ", ".join(f"{short_bytes(room)} in {precision}" for precision, room in spec.memory.items())
    size += f"; memory about {memory}." if memory else "." if size else ""
    lines = [f"{spec.name}: {spec.summary}{size}{licence}{needs}"]
    if entry is not None:
        lines.append(
            f"    In {entry.folder}, revision {entry.revision[:12] or 'unknown'}, from {entry.source}."
        )
    if state.damage:
        lines.append(f"    {state.damage}")
    if spec.facts is not None:
        lines.append(f"    {_weights_line(spec.facts)}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _weights_line(facts: Facts) -> str:
    """Source, files, where to get them, and the options, defaults first."""
    options = "; ".join(f"{name}={'|'.join(variants)}" for name, variants in facts.options.items())
    line = f"From {facts.source}. Weights ({', '.join(facts.files)}): {facts.where}."
    return f"{line} Options: {options}." if options else line
