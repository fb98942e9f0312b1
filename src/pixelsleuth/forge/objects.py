"""Stage 1: which object of a caption is to be forged.

`rules` looks for the first COCO class or an everyday name of it (`forge.words`). `llm` asks a chat model for JSON and
checks that the object occurs in the caption and that the class is one of the 80. A photograph with given outlines and
no caption takes the class of an outline; without any of these `object` stays empty, and free shapes still work.
"""

from __future__ import annotations

from pixelsleuth.data.equalise import random_for
from pixelsleuth.errors import PixelSleuthError
from pixelsleuth.forge.llm import Malformed, client_for
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Row
from pixelsleuth.forge.words import COCO, find_object

SYSTEM = (
    "You name the one object in a picture caption that an editor could replace. Answer with one JSON object: "
    '{"object": the noun exactly as it stands in the caption, "coco_class": the fitting class or null}. '
    "Prefer a concrete, visible thing. The classes are: " + ", ".join(COCO) + "."
)
SCHEMA = {
    "type": "object",
    "properties": {"object": {"type": "string"}, "coco_class": {"type": ["string", "null"]}},
    "required": ["object", "coco_class"],
    "additionalProperties": False,
}


def name_object(row: Row, context: Context) -> list[Row]:
    """Add `object` (as in the caption, or a class), `coco_class` and `object_from`. Raises PixelSleuthError."""
    caption, outlines = row.get("caption", ""), row.get("objects") or []
    if context.config.objects.method == "llm" and caption:
        word, kind = _ask(row, context)
        return [{**row, "object": word, "coco_class": kind, "object_from": "llm"}]
    found = find_object(caption)
    if found is not None:
        return [{**row, "object": found[0], "coco_class": found[1], "object_from": "caption"}]
    if outlines:
        random = random_for(f"object/{row['id']}", context.config.seed)
        kind = str(outlines[int(random.integers(len(outlines)))].get("category") or "")
        return [
            {**row, "object": kind, "coco_class": kind if kind in COCO else None, "object_from": "outline"}
        ]
    return [{**row, "object": "", "coco_class": None, "object_from": "none"}]


def _ask(row: Row, context: Context) -> tuple[str, str | None]:
    client = client_for(context.config.objects.llm)

    def check(answer: object) -> tuple[str, str | None]:
        if not isinstance(answer, dict) or not isinstance(answer.get("object"), str):
            raise Malformed("the answer names no object")
        word, kind = answer["object"].strip(), answer.get("coco_class")
        if not word or word.lower() not in row["caption"].lower():
            raise Malformed(f"the object {word[:40]!r} does not occur in the caption")
        if kind is not None and kind not in COCO:
            raise Malformed(f"{str(kind)[:40]!r} is no COCO class")
        return word, kind

    try:
        return client.ask(SYSTEM, f"Caption: {row['caption']}", schema=SCHEMA, check=check)
    except Malformed as error:
        raise PixelSleuthError(f"{row['id']}: the model gave no usable answer ({error}).") from None
