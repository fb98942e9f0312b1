"""What a user chooses of a baseline on the command line: options, and weights, where several are named at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pixelsleuth.core.names import nearest
from pixelsleuth.errors import UsageError
from pixelsleuth.models.facts import ANYTHING, FACTS, Facts


def chosen(facts: Facts, options: Mapping[str, str]) -> dict[str, str]:
    """The variant of every option: what is asked for, else the first.

    Raises:
        UsageError: no such option or variant.
    """
    told = {name: variants[0] for name, variants in facts.options.items()}
    for name, value in options.items():
        if name not in facts.options:
            known = ", ".join(facts.options) or "none"
            raise UsageError(
                f"{facts.title} has no option {name!r}{_meant(name, facts.options)} (it has {known})."
            )
        variants = facts.options[name]
        if value not in variants and ANYTHING not in variants:
            raise UsageError(
                f"{facts.title} has no {name}={value}{_meant(value, variants)} (choose {', '.join(variants)})."
            )
        told[name] = value
    return told


def _meant(text: str, known: Iterable[str]) -> str:
    close = nearest(text, known)
    return f"; did you mean {close!r}?" if close else ""


def weights_of(models: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """Which weights each model takes: FILE where there is one model; where there are several NAME=FILE, or a folder
    with a folder NAME/ or the expected file for each.

    >>> weights_of(["npr"], ["npr.pth"])
    {'npr': 'npr.pth'}
    >>> weights_of(["npr", "rine"], ["rine=r.pth", "npr=n.pth"])
    {'rine': 'r.pth', 'npr': 'n.pth'}
    """
    told: dict[str, str] = {}
    for text in given:
        name, mark, file = text.partition("=")
        if mark and name in models:
            told[name] = file
        elif len(models) == 1:
            told[models[0]] = text
        elif Path(text).is_dir():
            told = _inside(Path(text), models) | told
        else:
            raise UsageError(
                f"--weights {text}: with several models name a folder, or say whose it is, as {models[0]}={text}."
            )
    return told


def _inside(folder: Path, models: Sequence[str]) -> dict[str, str]:
    """The weights of each model that the folder holds."""
    found = {}
    for name in models:
        files = FACTS[name].files if name in FACTS else ()
        place = next(
            (one for one in (folder / name, *(folder / file for file in files[:1])) if one.exists()), None
        )
        if place is not None:
            only = place / files[0] if len(files) == 1 else place
            found[name] = str(only if place.is_dir() and only.is_file() else place)
    return found


def options_of(models: Sequence[str], given: Sequence[str]) -> dict[str, dict[str, str]]:
    """The options of each model: KEY=VALUE for all of them, NAME:KEY=VALUE for one.

    >>> options_of(["npr", "rine"], ["size=native", "rine:size=224"])
    {'npr': {'size': 'native'}, 'rine': {'size': '224'}}
    """
    told: dict[str, dict[str, str]] = {name: {} for name in models}
    for text in given:
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise UsageError(f"--option {text}: write KEY=VALUE.")
        name, mark, inner = key.partition(":")
        for model in [name] if mark and name in models else models:
            told[model][inner if mark and name in models else key] = value
    return told
