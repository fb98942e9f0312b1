"""What went into a picture, by its Content Credentials: a tree of plain values, and of it one for the terminal.

The texts are a stranger's, and the record may be, too: everything is shortened and bounded, odd values are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pixelsleuth.reporting.words import count, printable

if TYPE_CHECKING:
    from rich.tree import Tree

TITLE = "What went into it, as declared"
MOST_NODES = 64
DEEPEST = 8
LONGEST = 160
"""Characters of a text."""
MOST_WORDS = 3
"""Declarations, and problems, that are named of one ingredient."""
ROLES = {"parentOf": "the version before", "componentOf": "a part", "inputTo": "an input"}
"""Relationship of an ingredient (C2PA specification 2.2, 18.16) -> in words."""
STATES = {
    "none": "without credentials",
    "missing": "its credentials are not in the file",
    "invalid": "its credentials do not hold",
}


def tree(detail: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ingredients in the `detail` of a finding as nodes `{"name", "about", "says", "inner"}`.

    `about` is role and format, `says` what their credentials say, `inner` a list of nodes. Empty where there are none.
    """
    return list(_nodes(detail, [MOST_NODES], DEEPEST))


def ingredient_tree(detail: Mapping[str, Any]) -> Tree | None:
    """Return the same as a rich tree for the terminal; None where there are no ingredients."""
    from rich.text import Text
    from rich.tree import Tree

    nodes = tree(detail)
    if not nodes:
        return None
    top = Tree(Text(TITLE, "dim"), guide_style="dim")
    _grow(top, nodes)
    return top


def _grow(above: Tree, nodes: list[dict[str, Any]]) -> None:
    from rich.text import Text

    for node in nodes:
        about, says = (node[key] for key in ("about", "says"))
        line = node["name"] + (f" ({about})" if about else "") + (f": {says}" if says else "")
        _grow(above.add(Text(line, "dim")), node["inner"])


def _nodes(holder: Mapping[str, Any], left: list[int], depth: int) -> Iterator[dict[str, Any]]:
    listed = holder.get("ingredients")
    nodes = [node for node in listed if isinstance(node, Mapping)] if isinstance(listed, list) else []
    more = holder.get("more_ingredients")
    missing = more if isinstance(more, int) else 0
    for index, node in enumerate(nodes):
        if left[0] <= 0 or depth <= 0:
            missing += len(nodes) - index
            break
        left[0] -= 1
        kind = _text(node.get("format")).removeprefix("image/").upper()
        yield {
            "name": _text(node.get("title")) or "without a title",
            "about": ", ".join(filter(None, (ROLES.get(_text(node.get("relationship"))), kind))),
            "says": _says(node),
            "inner": list(_nodes(node, left, depth - 1)),
        }
    if missing > 0:
        yield {"name": f"and {count(missing, 'ingredient')} more", "about": "", "says": "", "inner": []}


def _says(node: Mapping[str, Any]) -> str:
    state = STATES.get(_text(node.get("state")))
    if state is not None:
        problems = "; ".join(_texts(node.get("problems")))
        return f"{state}: {problems}" if problems else state
    signer = _text(node.get("signer")) or _text(node.get("certificate"))
    return "; ".join([f"signed by {signer}" if signer else "signed", *_texts(node.get("declares"))])


def _texts(values: Any) -> list[str]:
    return [_text(value) for value in values[:MOST_WORDS]] if isinstance(values, list) else []


def _text(value: Any) -> str:
    text = printable(value if isinstance(value, str) else "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
