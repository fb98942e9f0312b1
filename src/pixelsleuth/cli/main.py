"""The command group. A command is imported only when it is called, so that `pixelsleuth --help` answers at once."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from pixelsleuth.core.names import nearest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "check": "Judge pictures: real, wholly generated or tampered; where and why.",
    "scan": "Judge millions of pictures into Parquet files, resumable at any moment.",
    "summarise": "Figures, page and exports of a scan or a check.",
    "inspect": "Say what files declare about themselves: no model, no network.",
    "demo": "Forge some photographs, check them all, write a report.",
    "audit": "Measure how much of the labels the files give away by themselves.",
    "forge": "Build a labelled data set of forgeries from photographs.",
    "evaluate": "Measure detectors on labelled pictures: figures, predictions, a report.",
    "compare": "Paired differences of two evaluations, with intervals.",
    "models": "List the detectors and what they need; fetch weights.",
    "serve": "Serve an HTTP API and a web page.",
    "mcp": "Offer check, inspect and explain to an assistant (Model Context Protocol).",
    "chat": "Talk with a vision-language model about a picture.",
    "datasets": "List the data sets that can be read; verify one.",
    "export": "Turn a trained checkpoint into an ONNX detector.",
    "train": "Train a detector by a recipe; resumable.",
    "merge": "Fold LoRA and training folders into one checkpoint.",
    "completion": "Print the completion script of a shell.",
}
"""Name -> help line. A command is the function of that name in the module of that name."""
JUDGING = {"check", "evaluate", "scan", "inspect", "demo", "serve", "mcp"}
"""Commands whose NumPy multiplies matrices in one thread, for the cores belong to the models and to other pictures, and
whose memory is used again."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called and prints errors as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in JUDGING:
            from pixelsleuth.core.memory import reuse_freed_memory

            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by OpenBLAS when NumPy is imported
            reuse_freed_memory()
        command: click.Command = getattr(import_module(f"pixelsleuth.cli.{cmd_name}"), cmd_name)
        if ctx.resilient_parsing:  # a shell asks what may follow
            from pixelsleuth.cli.completion import prepare

            prepare(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands with their help lines; none is imported. After a dash, the options."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        from click.shell_completion import CompletionItem

        known = COMMANDS.items()
        return [CompletionItem(name, help=line) for name, line in known if name.startswith(incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = nearest(name, COMMANDS)
            commands = (
                f"commands: {', '.join(COMMANDS)}. To judge a picture: {ctx.command_path} check PICTURE"
            )
            hint = f"did you mean '{close}'?" if close else commands
            ctx.fail(f"There is no command '{click.format_filename(name)}'; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        from pixelsleuth.core.streams import guard_streams, signals_as_interrupt

        guard_streams()
        with signals_as_interrupt():
            return super().main(*args, **extra)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with refusals():  # --help and --version write here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with refusals():
                try:
                    return super().invoke(ctx)
                finally:
                    sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


class Refusal(click.ClickException):
    """One sentence and exit status 2, no traceback."""

    exit_code = 2


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn errors that a person can do something about into one sentence and exit status 2."""
    from pixelsleuth.errors import PixelSleuthError

    try:
        yield
    except PixelSleuthError as error:
        raise Refusal(str(error)) from error
    except Exception as error:
        sentence = _full_disk(error)
        if sentence is None:
            raise
        raise Refusal(sentence) from error


def _full_disk(error: Exception) -> str | None:
    """The message for a full disk, whichever library reports it; None for other errors."""
    number = getattr(error, "errno", None)
    # safetensors and torch carry the system's error in their text only.
    texts = {errno.ENOSPC: "no space left on device", errno.EDQUOT: "disk quota exceeded"}
    for code, text in texts.items():
        if number == code or text in str(error).lower() or f"os error {code})" in str(error):
            name = getattr(error, "filename", None)
            return f"{name or 'An output'} cannot be written ({text}); make room and run again."
    return None


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from pixelsleuth import __version__

        click.echo(f"pixelsleuth {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Is this picture real, wholly generated, or tampered with? Where? Why?

    \b
    pixelsleuth check photo.jpg
    pixelsleuth check folder/ --report report.html
    """
