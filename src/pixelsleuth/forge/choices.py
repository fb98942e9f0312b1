"""Stage 3: what is to be changed.

Inpainting: an object becomes another of its supercategory, or keeps its kind and gets an attribute (a *part* edit in
SID-Set's words), 4 : 1 by default; an object that is no COCO class gets an attribute. The new caption is the old one
with the word replaced. The classical operations: which operation, by its share.
"""

from __future__ import annotations

import re

from pixelsleuth.data.equalise import random_for
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Row
from pixelsleuth.forge.words import ATTRIBUTES, PLAIN_ATTRIBUTES, SUPERCATEGORIES, SUPERCATEGORY


def choose(row: Row, context: Context) -> list[Row]:
    """One line an edit: `photograph` (id), `mode` (object, part or operation), `replacement`, `prompt`."""
    config = context.config
    if config.edit.method == "none":
        return []
    made = []
    for number in range(config.choices.edits_per_photograph):
        name = f"{row['id']}-{number}"
        base = {**row, "id": name, "photograph": row["id"], "seed": config.seed}
        if config.edit.method == "classical":
            made.append(base | _operation(name, context))
        elif row.get("object"):
            made.append(base | _replacement(row, name, context))
        else:
            error = {
                "code": "rejected",
                "message": f"{row['id']}: no object is known that could be replaced.",
            }
            made.append(base | {"error": error})
    return made


def _operation(name: str, context: Context) -> dict[str, str]:
    shares = context.config.choices.operations
    random = random_for(f"operation/{name}", context.config.seed)
    names = sorted(shares)
    total = sum(shares[one] for one in names)
    drawn = names[int(random.choice(len(names), p=[shares[one] / total for one in names]))]
    return {"mode": "operation", "operation": drawn, "replacement": "", "prompt": ""}


def _replacement(row: Row, name: str, context: Context) -> dict[str, str]:
    random = random_for(f"replacement/{name}", context.config.seed)
    kind = row.get("coco_class") or ""
    others = [one for one in SUPERCATEGORIES.get(SUPERCATEGORY.get(kind, ""), ()) if one != kind]
    word = row["object"]
    if others and random.random() < context.config.choices.object_share:
        mode, new = "object", others[int(random.integers(len(others)))]
    else:
        attributes = ATTRIBUTES.get(SUPERCATEGORY.get(kind, ""), PLAIN_ATTRIBUTES)
        mode, new = "part", f"{attributes[int(random.integers(len(attributes)))]} {word}"
    return {"mode": mode, "operation": "inpainting", "replacement": new, "prompt": new_caption(row, new)}


def new_caption(row: Row, new: str) -> str:
    """The caption with the object's word replaced, articles mended; without a caption, the replacement alone.

    >>> new_caption({"caption": "A dog on a red couch", "object": "dog"}, "elephant")
    'An elephant on a red couch'
    >>> new_caption({"caption": "The dog sleeps", "object": "dog"}, "an angry dog")
    'An angry dog sleeps'
    >>> new_caption({"caption": "", "object": "dog"}, "cat")
    'a cat'
    """
    article, bare = re.fullmatch(r"((?:an? )?)(.*)", new).groups()  # type: ignore[union-attr]
    if not row.get("caption"):
        return f"{article or ('an ' if bare[0] in 'aeiou' else 'a ')}{bare}"
    pattern = re.compile(rf"(\b(?:an?|the|one)\s+)?\b{re.escape(row['object'])}\b", re.IGNORECASE)

    def put(found: re.Match[str]) -> str:
        before = found[1] or ""
        if article or before.strip().lower() in ("a", "an", "one"):
            before = article or ("an " if bare[0].lower() in "aeiou" else "a ")
        text = before + bare
        return text[0].upper() + text[1:] if found.start() == 0 else text

    return pattern.sub(put, row["caption"], count=1)
