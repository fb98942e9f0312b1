"""What went into a picture, as its Content Credentials name it: a tree of plain values for page and terminal.

The texts are a stranger's, out of records that may be a stranger's, too: everything is shortened and bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pixelsleuth.reporting.words import printable

MOST_NODES = 64
DEEPEST = 8
LONGEST = 160
"""Characters of a text."""
RELATIONS = {"parentOf": "earlier version", "componentOf": "part", "inputTo": "input"}
"""The relations of an ingredient (C2PA specification 2.2, 10.3.2.2) in words."""


def tree(ingredients: Any) -> list[dict[str, Any]]:
    """Return nodes `{"name", "facts", "problems", "inner"}`, the last a list of nodes; empty where there are none."""
    left = [MOST_NODES]
    return list(_nodes(ingredients, left, DEEPEST))


def _nodes(ingredients: Any, left: list[int], depth: int) -> Iterator[dict[str, Any]]:
    nodes = (
        [node for node in ingredients if isinstance(node, Mapping)] if isinstance(ingredients, list) else []
    )
    for index, node in enumerate(nodes):
        if left[0] <= 0 or depth <= 0:
            yield {"name": f"and {len(nodes) - index} more", "facts": "", "problems": "", "inner": []}
            return
        left[0] -= 1
        relation = str(node.get("relationship") or "")
        facts = [RELATIONS.get(relation, relation), node.get("format"), *_signed(node)]
        yield {
            "name": _text(node.get("title")) or "without a title",
            "facts": " · ".join(_text(fact) for fact in facts if fact),
            "problems": _joined(node.get("problems")),
            "inner": list(_nodes(node.get("ingredients"), left, depth - 1)),
        }


def _signed(node: Mapping[str, Any]) -> Iterator[str]:
    if node.get("signer"):
        yield f"signed by {_text(node['signer'])}"
    if declared := _joined(node.get("declares")):
        yield f"declares: {declared}"


def _joined(texts: Any) -> str:
    return "; ".join(_text(text) for text in texts[:4]) if isinstance(texts, list) else _text(texts)


def _text(value: Any) -> str:
    text = printable(value if isinstance(value, str) else "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
