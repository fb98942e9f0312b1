"""Commands and their options, as click knows them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from tools.pages.generated import table


def names() -> list[str]:
    """The commands of `pixelsleuth`, in the order of its help."""
    from pixelsleuth.cli.main import COMMANDS

    return list(COMMANDS)


def overview(argument: str) -> str:
    """A table of all commands, linked to their pages beside this one."""
    del argument
    from pixelsleuth.cli.main import COMMANDS

    rows = [(f"[`pixelsleuth {name}`]({name}.md)", says) for name, says in COMMANDS.items()]
    return table(("command", "what it does"), rows)


def command(name: str) -> str:
    """The usage, the help and the options of a command, then of the commands inside it. Raises KeyError."""
    from pixelsleuth.cli.main import main

    context = click.Context(main, info_name="pixelsleuth")
    found = main.get_command(context, name)
    if found is None:
        raise KeyError(f"command {name}")
    return "\n\n".join(_parts(found, click.Context(found, parent=context, info_name=name), ""))


def _parts(found: click.Command, context: click.Context, heading: str) -> Iterator[str]:
    if heading:
        yield f"## `{heading}`"
    usage = " ".join(found.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    if found.help:
        yield _prose(found.help)
    yield from _parameters(found, context)
    if isinstance(found, click.Group):
        for name in found.list_commands(context):
            inner = found.get_command(context, name)
            if inner is not None and not inner.hidden:
                inside = click.Context(inner, parent=context, info_name=name)
                yield from _parts(inner, inside, f"{context.command_path} {name}")


def _parameters(found: click.Command, context: click.Context) -> Iterator[str]:
    """The table of a command's options."""
    options = [one for one in found.get_params(context) if isinstance(one, click.Option) and not one.hidden]
    rows = [_row(option, context) for option in options if "--help" not in option.opts]
    if rows:
        yield table(("option", "default", "what it does"), rows)


def _row(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    """An option as it is written, with its choices, its default, its help."""
    chosen = isinstance(option.type, click.Choice) and option.metavar is None
    value = "" if option.is_flag or option.count or chosen else f" {_value(option)}"
    spelled = " / ".join(f"`{name}{value}`" for name in (*option.opts, *option.secondary_opts))
    if isinstance(option.type, click.Choice) and chosen:
        spelled += f" {', '.join(f'`{one}`' for one in option.type.choices)}"
    extra = option.get_help_extra(context)
    default = extra.get("default", "")
    says = _prose(option.help or "")
    if "range" in extra:
        says += f" {_range(option.type)}."
    if option.required:
        says += " Required."
    return spelled, f"`{default}`" if default and not default.startswith("(") else default, says


def _value(option: click.Option) -> str:
    """What stands for the value."""
    if option.metavar:
        return option.metavar
    numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
    return "N" if numeric else option.type.name.upper()


def _range(kind: click.ParamType) -> str:
    """The numbers that an option takes."""
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    ends = [f"from {low:,}" if low is not None else "", f"up to {high:,}" if high is not None else ""]
    return " ".join(end for end in ends if end).capitalize()


def _prose(text: str) -> str:
    """Help text as Markdown: click's `\\b` before a block keeps its lines; what looks like HTML is shown as written."""
    blocks = []
    for block in inspect.cleandoc(text).replace("\f", "").split("\n\n"):
        sentence = block.removeprefix("\b").strip()
        if sentence.startswith("Exit status"):  # its lines are kept for terminals alone
            blocks.append(_escaped(" ".join(sentence.split())))
        elif block.startswith("\b"):
            blocks.append("```text\n" + block.removeprefix("\b").strip("\n") + "\n```")
        else:
            blocks.append(_escaped(" ".join(block.split())))
    return "\n\n".join(blocks)


def _escaped(text: str) -> str:
    """Markdown's own characters as they are read in a terminal; 'quoted commands' become code."""
    text = re.sub(r"'(pixelsleuth [^']+|[a-z]+ --[^']+|--[^']+)'", r"`\1`", text)
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        parts[index] = re.sub(r"(?<![\w`])(--[a-z][a-z0-9-]*(?: [A-Z]+\b)?)", r"`\1`", parts[index])
    text = "`".join(parts)
    return text.replace("<", "&lt;")
