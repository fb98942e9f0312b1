"""`pixelsleuth completion`, and what the shell offers after TAB: detectors, data sets, files; no model is loaded.

What a parameter is completed with follows from what its help calls it (FILE, DIR, ...): a new option needs nothing
here.
"""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem, get_completion_class

VARIABLE = "_PIXELSLEUTH_COMPLETE"
"""The variable by which click's script asks this program for completions."""

Offer = Callable[[str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, detectors and files in a shell.

    \b
    pixelsleuth completion bash > ~/.local/share/bash-completion/completions/pixelsleuth
    pixelsleuth completion zsh > ~/.zfunc/_pixelsleuth            with ~/.zfunc in fpath
    pixelsleuth completion fish > ~/.config/fish/completions/pixelsleuth.fish
    """
    program = click.get_current_context().find_root().command
    script = get_completion_class(shell)
    assert script is not None, "click knows the shells of the choice above"
    click.echo(script(program, {}, "pixelsleuth", VARIABLE).source())


def files(incomplete: str) -> list[CompletionItem]:
    """The shell's own completion of files and folders."""
    return [CompletionItem(incomplete, type="file")]


def folders(incomplete: str) -> list[CompletionItem]:
    """The shell's own completion of folders."""
    return [CompletionItem(incomplete, type="dir")]


def detectors(incomplete: str) -> list[CompletionItem]:
    """Names of detectors; where none begins so, files and folders, since a checkpoint is one, too."""
    from pixelsleuth.models.registry import specs

    known = [CompletionItem(spec.name, help=spec.summary) for spec in specs()]
    return [item for item in known if item.value.startswith(incomplete)] or files(incomplete)


def data_sets(incomplete: str) -> list[CompletionItem]:
    """Names of the data sets that can be read."""
    from pixelsleuth.data.layouts import names

    return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


BY_OPTION: dict[str, Offer] = {"--model": detectors, "--reader": data_sets}
BY_WORD: dict[str, Offer] = {
    "FILE": files, "PATH": files, "IMAGE": files, "MANIFEST": files, "DATA": files, "SOURCE": files,
    "DIR": folders, "FOLDER": folders,
}  # fmt: skip
BY_ARGUMENT: dict[tuple[str, str], Offer] = {("models", "name"): detectors, ("datasets", "name"): data_sets}
"""(group, argument) of the arguments whose name says too little."""


def offer_of(parameter: click.Parameter, group: str) -> Offer | None:
    """What completes a parameter of plain text; None where there is nothing to offer."""
    for option in parameter.opts:
        if option in BY_OPTION:
            return BY_OPTION[option]
    # FILE.html, [NAME=]FILE, PATH..., FOLDER|URL
    word = (parameter.metavar or "").rpartition("]")[2] or (parameter.metavar or "")
    word = word.partition("|")[0].partition(".")[0]
    return BY_WORD.get(word) or BY_ARGUMENT.get((group, parameter.name or ""))


class Offered(click.types.StringParamType):
    """Plain text that the shell completes with an offer."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return self.offer(incomplete)


def prepare(command: click.Command, group: str = "") -> None:
    """Give every parameter of plain text, also of the commands below, its offer. Done only while completing."""
    for parameter in command.params:
        offer = offer_of(parameter, group) if parameter.type is click.STRING else None
        if offer is not None:
            parameter.type = Offered(offer)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            prepare(inner, command.name or "")
