"""What the manifest of a picture and those before it declare together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pixelsleuth.evidence.c2pa_report import manifest_of, short
from pixelsleuth.evidence.ingredients import Ingredients
from pixelsleuth.evidence.rubrics import Signals, actions_of, has_edits, meaning_of
from pixelsleuth.evidence.vocabulary import Meaning


@dataclass(frozen=True)
class History:
    """What a manifest and those before it declare together.

    `meaning`: as `vocabulary.Meaning`, "" where nothing is declared. `ingredients` are dictionaries, nested, and `more`
    the number left out of the first level, as `Ingredients` has them; `thumbnails`: (caption, address) of some.
    `generated_parts`: a part beside the line of versions declares AI. `broken_parts`: the credentials of an ingredient
    do not hold.
    """

    inceptions: Signals = field(default_factory=dict)
    transformations: Signals = field(default_factory=dict)
    meaning: Meaning | Literal[""] = ""
    ingredients: list[dict[str, Any]] = field(default_factory=list)
    more: int = 0
    thumbnails: list[tuple[str, str]] = field(default_factory=list)
    generated_parts: bool = False
    broken_parts: bool = False


def history_of(report: Mapping[str, Any]) -> History:
    """Return what the active manifest and its ingredients declare.

    The line of versions (`parentOf`) is followed back to the beginning, as long as each version is valid; components
    are shown in the tree alone.
    """
    tree = Ingredients(report)
    label = str(report.get("active_manifest"))
    inceptions, transformations = tree.signals_of(label)
    listed = has_edits(manifest_of(report, label))
    line = {label}
    while (parent := tree.parent(label)) is not None and parent not in line:
        line.add(parent)
        label = parent
        before, changes = tree.signals_of(label)
        kept = {key: word for key, word in inceptions.items() if key != "mediaUnknownProvenance"}
        inceptions, transformations = {**before, **kept}, {**transformations, **changes}
        listed = listed or has_edits(manifest_of(report, label))
    meaning = meaning_of(inceptions, transformations, listed=listed)
    parts = tree.has_generated_parts(line)
    return History(
        inceptions, transformations, meaning, tree.nodes, tree.more, tree.thumbnails, parts, tree.any_broken
    )


def action_names(manifest: Mapping[str, Any], most: int = 20) -> list[str]:
    """Return the names of the listed actions in their order, at most `most`."""
    return [short(action.get("action", ""), 60) for action in actions_of(manifest)][:most]
