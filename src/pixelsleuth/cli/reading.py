"""Options of every command that reads labelled data: a reader's settings, and whether paths may lead out of the set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

allow_outside: Callable[[Any], Any] = click.option(
    "--allow-outside",
    is_flag=True,
    help="Also take paths that lead out of the set's folder: absolute ones, .., links. For sets of your own.",
)
set_option: Callable[[Any], Any] = click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A setting of the reader; may be repeated."
)


def settings_of(texts: Iterable[str]) -> dict[str, str]:
    """The settings in `--set KEY=VALUE`. Raises click.UsageError."""
    return dict(_pair(text) for text in texts)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise click.UsageError(f"--set wants KEY=VALUE, not {text!r}.")
    if key in ("spec", "reader", "split", "allow_outside"):
        raise click.UsageError(f"{key} is no setting of a reader; it has an option of its own.")
    return key, value.strip()
