"""What went into a picture, by its Content Credentials, as a tree for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixelsleuth.reporting.words import count, printable

if TYPE_CHECKING:
    from rich.tree import Tree

ROLES = {"parentOf": "the version before", "componentOf": "a part", "inputTo": "an input"}
"""Relationship of an ingredient (C2PA specification 2.2, 18.16) -> in words."""
STATES = {
    "none": "without credentials",
    "missing": "its credentials are not in the file",
    "invalid": "its credentials do not hold",
}
MOST_WORDS = 3
"""Declarations that are named of one ingredient."""


def ingredient_tree(detail: dict[str, Any]) -> Tree | None:
    """Return the ingredients in the `detail` of a finding as a rich tree; None where there are none."""
    from rich.text import Text
    from rich.tree import Tree

    if not detail.get("ingredients"):
        return None
    tree = Tree(Text("What went into it, as declared", "dim"), guide_style="dim")
    _grow(tree, detail)
    return tree


def _grow(tree: Tree, holder: dict[str, Any]) -> None:
    from rich.text import Text

    for node in holder.get("ingredients") or []:
        _grow(tree.add(Text(_line(node), "dim")), node)
    if holder.get("more_ingredients"):
        tree.add(Text(f"and {count(holder['more_ingredients'], 'ingredient')} more", "dim"))


def _line(node: dict[str, Any]) -> str:
    role, kind = ROLES.get(str(node.get("relationship"))), str(node.get("format") or "")
    about = ", ".join(filter(None, (role, printable(kind.removeprefix("image/").upper()))))
    name = printable(node.get("title") or "without a title")
    state = STATES.get(str(node.get("state")))
    if state is None:
        signer = node.get("signer") or node.get("certificate")
        words = node.get("declares") or []
        state = "; ".join(
            [f"signed by {printable(signer)}" if signer else "signed", *map(printable, words[:MOST_WORDS])]
        )
    return f"{name} ({about}): {state}" if about else f"{name}: {state}"
