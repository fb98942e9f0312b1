"""Options that several commands share, and types of values that click does not have."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pixelsleuth.core.engine import Engine

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]

style_option: Option = click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or one JSON document.",
)
device_option: Option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the detector runs; the core alone has a CPU runtime only.",
)
precision_option: Option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8", "int4"]),
    default="auto",
    show_default=True,
    help="Precision of the weights of large models. auto: bf16 on a GPU, fp32 on a CPU; int8 and int4 "
    "need a GPU and bitsandbytes.",
)
explain_option: Option = click.option(
    "--explain/--no-explain",
    default=True,
    show_default=True,
    help="Say why, or only what and where (faster).",
)
evidence_option: Option = click.option(
    "--evidence/--no-evidence",
    default=True,
    show_default=True,
    help="Say what file and pixels say by themselves; it never changes a score.",
)
trust_option: Option = click.option(
    "--trust-list",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Recognise the signers of the lists in this folder, in place of the C2PA lists that are shipped.",
)


def engine_options(command: Command) -> Command:
    """Add --engine, --address, --actors and --gpus-per-actor (docs/how-to/cluster.md)."""
    for option in (
        click.option(
            "--gpus-per-actor",
            type=FiniteFloat(min=0),
            default=0.0,
            show_default=True,
            help="GPUs that each of Ray's actors takes; a share such as 0.5 is one, too.",
        ),
        click.option(
            "--actors",
            type=click.IntRange(1, 100_000),
            metavar="N",
            help="Actors of Ray. Default: as many as fit.",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="Ray cluster, 'auto' for the one of this node. Default: Ray on this machine alone.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="What does the work: processes of this machine, or actors of Ray.",
        ),
    ):
        command = option(command)
    return command


def engine_from(options: dict[str, Any]) -> contextlib.AbstractContextManager[Engine | None]:
    """The engine that `engine_options` name, which are taken out of `options`; None inside for `local`.

    Raises UsageError.
    """
    from pixelsleuth.scale.engine import engine_of

    names = ("engine", "address", "actors", "gpus_per_actor")
    return engine_of(*(options.pop(name) for name in names)) or contextlib.nullcontext()


# Labelled data
reader_option: Option = click.option(
    "--reader",
    metavar="NAME",
    help="Read DATA as this data set, see 'pixelsleuth datasets'. Default: by its layout.",
)
set_option: Option = click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A setting of the reader. Repeatable."
)
allow_outside: Option = click.option(
    "--allow-outside",
    is_flag=True,
    help="Also read paths outside the data's folder: absolute ones, .., links. Only for data that you trust.",
)


def settings_of(pairs: Iterable[str]) -> dict[str, str]:
    """The settings in `--set KEY=VALUE`. Raises click.UsageError."""
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals:
            raise click.UsageError(f"--set wants KEY=VALUE, not {pair!r}.")
        if key in ("spec", "reader", "split", "allow_outside"):
            raise click.UsageError(f"{key} is no setting of a reader; it has an option of its own.")
        settings[key] = value.strip()
    return settings


def expand_stdin(paths: tuple[str, ...]) -> list[str]:
    """`paths` with every `-` replaced by the paths on standard input: one a line, or separated by NUL (`find -print0`).

    Read as bytes: a file name need not be valid in the encoding of the terminal.
    """
    listed: list[str] = []
    for path in paths:
        if path != "-":
            listed.append(path)
            continue
        data = sys.stdin.buffer.read()
        names = data.split(b"\0") if b"\0" in data else data.splitlines()
        listed += [os.fsdecode(name) for name in names if name.strip()]
    return listed


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Raise MissingExtra if the block imports a package that is not installed."""
    from pixelsleuth.errors import MissingExtra

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("pixelsleuth"):
            raise
        raise MissingExtra(error.name or "torch", extra) from None


def bounds_options(command: Command) -> Command:
    """Add the options of the decision (docs/background/decision.md). Each is None where the user names none."""
    for option in (
        click.option(
            "--stable/--fast",
            default=None,
            help="Conclusive only if two mildly re-saved copies get the same label (default; such "
            "pictures take about 2.5 times as long), or without that check.",
        ),
        click.option(
            "--right-at-least",
            type=float,
            metavar="SHARE",
            help="At least this share of conclusive verdicts is right (default 0.90).",
        ),
        click.option(
            "--accuse-at-most",
            type=float,
            metavar="SHARE",
            help="At most this share of authentic pictures is called synthetic or tampered (default 0.03).",
        ),
    ):
        command = option(command)
    return command


class Names(click.ParamType):
    """A tuple of names out of `known`, separated by commas."""

    name = "names"

    def __init__(self, *known: str) -> None:
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in value.split(","))
        for name in names:
            if name not in self.known:
                self.fail(f"{name!r} is none of {', '.join(self.known)}.", param, ctx)
        return names


class FiniteFloat(click.FloatRange):
    """A finite number within bounds. FloatRange itself lets nan through."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number; give one such as 100.", param, ctx)
        return number

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()


megapixels_option: Option = click.option(
    "--max-megapixels",
    type=FiniteFloat(min=0.001),
    default=100.0,
    show_default=True,
    help="Refuse larger pictures before decoding them.",
)
