"""Options of the decision (docs/decision.md), the same for every command that judges pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def bounds_options(command: Command) -> Command:
    """Add `accuse_at_most`, `right_at_least` and `stable` to a command; None where they are not given."""
    for option in (
        click.option(
            "--stable/--fast",
            default=None,
            help="Conclusive only where mild re-saves are judged alike (default), or without that check.",
        ),
        click.option(
            "--right-at-least",
            type=float,
            metavar="SHARE",
            help="Of conclusive verdicts, at least this share is right (0.90).",
        ),
        click.option(
            "--accuse-at-most",
            type=float,
            metavar="SHARE",
            help="Of authentic pictures, at most this share is called synthetic or tampered (0.03).",
        ),
    ):
        command = option(command)
    return command
