"""Build hook of the wheel: manual pages in share/man/man1, made from the commands' own help.

The commands load with click alone, so the hook needs nothing that the build does not have. An editable install gets no
pages: they would go stale.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VERBATIM = "\b"
"""click's own sign: the lines of this paragraph stay as they are."""


class ManualPages(BuildHookInterface[Any]):
    """Adds the manual pages to the data of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self.folder = tempfile.TemporaryDirectory()
        for page in write_pages(Path(self.root), Path(self.folder.name), self.metadata.version):
            build_data["shared_data"][str(page)] = f"share/man/man1/{page.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self.folder.cleanup()


def write_pages(root: Path, folder: Path, version: str) -> list[Path]:
    """Write one page for the program, one for each command and subcommand; returns their files in order of names."""
    sys.path.insert(0, str(root / "src"))
    try:
        from pixelsleuth.cli.main import main
    finally:
        sys.path.pop(0)
    pages = []
    for command, context in walk(main, click.Context(main, info_name="pixelsleuth")):
        page = folder / f"{context.command_path.replace(' ', '-')}.1"
        page.write_text(manual_page(command, context, version), encoding="utf-8")
        pages.append(page)
    return sorted(pages)


def walk(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and all below it, each with a context that knows its whole name."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from walk(inner, click.Context(inner, parent=context, info_name=name))


def manual_page(command: click.Command, context: click.Context, version: str) -> str:
    """The page of a command in roff's man macros (man-pages(7))."""
    name = context.command_path.replace(" ", "-")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{name.upper()}" "1" "" "pixelsleuth {version}" "PixelSleuth"',
        ".SH NAME",
        f"{escaped(name)} \\- {escaped(command.get_short_help_str(200))}",
        ".SH SYNOPSIS",
        f".B {escaped(context.command_path)}",
        escaped(usage),
        ".SH DESCRIPTION",
        *described(command.help or ""),
    ]
    options = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context))
    ]
    lines += listed("OPTIONS", options)
    if isinstance(command, click.Group):
        inner = [(child, command.get_command(context, child)) for child in command.list_commands(context)]
        lines += listed(
            "COMMANDS", [(child, c.get_short_help_str(200)) for child, c in inner if c is not None]
        )
        lines += listed("SEE ALSO", [(f"{name}-{child}(1)", "") for child, _ in inner])
    else:
        parent = context.parent.command_path if context.parent else "pixelsleuth"
        lines += listed("SEE ALSO", [(f"{parent.replace(' ', '-')}(1)", "")])
    return "\n".join(lines) + "\n"


def described(text: str) -> Iterator[str]:
    """The paragraphs of a help text; those that click leaves unwrapped stay so."""
    for paragraph in text.split("\n\n"):
        verbatim = paragraph.startswith(VERBATIM)
        body = paragraph.removeprefix(VERBATIM).strip("\n")
        yield ".PP"
        if verbatim:
            yield from (".nf", *(escaped(line) for line in body.splitlines()), ".fi")
        else:
            yield escaped(" ".join(body.split()))


def listed(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    """A section of terms and what they mean; nothing where there are none."""
    if rows:
        yield f".SH {title}"
    for term, meaning in rows:
        yield from (".TP", f".B {escaped(term)}", *([escaped(meaning)] if meaning else []))


def escaped(text: str) -> str:
    """Text that roff prints as it is: backslashes, hyphens that are typed, control characters at a line's start."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
