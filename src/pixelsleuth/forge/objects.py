"""Stages 1 and 3: which object of a caption is forged, and what becomes of it.

Objects: `rules` looks for the first COCO class or an everyday name of it. `llm` asks a chat model for JSON and checks
that the object occurs in the caption and that the class is one of the 80. A photograph with outlines and no caption
takes the class of an outline. Without any of these `object` stays empty, and free shapes still work.

Choices: with inpainting an object becomes another of its supercategory, or keeps its kind and gets an attribute (a
*part* edit in SID-Set's words), 4 : 1 by default; an object that is no COCO class gets an attribute. The new caption
is the old one with the word replaced. With the classical operations: which operation, by its share.

SID-Set names its dictionaries but does not publish them: the words here are ours. Source of the classes: COCO 2017.
"""

from __future__ import annotations

import re

from pixelsleuth.data.equalise import random_for
from pixelsleuth.errors import PixelSleuthError
from pixelsleuth.forge.llm import Malformed, client_for
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Row

SUPERCATEGORIES: dict[str, tuple[str, ...]] = {
    "person": ("person",),
    "vehicle": ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    "outdoor": ("traffic light", "fire hydrant", "stop sign", "parking meter", "bench"),
    "animal": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "accessory": ("backpack", "umbrella", "handbag", "tie", "suitcase"),
    "sports": (
        "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard",
        "surfboard", "tennis racket",
    ),
    "kitchen": ("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"),
    "food": (
        "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake",
    ),
    "furniture": ("chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    "electronic": ("tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    "appliance": ("microwave", "oven", "toaster", "sink", "refrigerator"),
    "indoor": ("book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
}  # fmt: skip
COCO = tuple(name for names in SUPERCATEGORIES.values() for name in names)
SUPERCATEGORY = {name: group for group, names in SUPERCATEGORIES.items() for name in names}

SYNONYMS = {
    "person": "man men woman women boy girl child children kid baby people guy lady player rider skier surfer toddler",
    "bicycle": "bike bicycles cyclist",
    "car": "cars taxi suv sedan",
    "motorcycle": "motorbike scooter moped",
    "airplane": "plane jet aircraft airliner",
    "bus": "buses",
    "train": "trains locomotive tram",
    "truck": "lorry pickup",
    "boat": "ship canoe kayak sailboat ferry",
    "traffic light": "stoplight",
    "fire hydrant": "hydrant",
    "bird": "birds duck seagull pigeon owl parrot goose",
    "cat": "kitten kitty",
    "dog": "puppy puppies",
    "horse": "horses pony foal",
    "sheep": "lamb lambs",
    "cow": "cows cattle bull calf",
    "bear": "bears",
    "backpack": "rucksack",
    "umbrella": "parasol umbrellas",
    "handbag": "purse",
    "tie": "necktie",
    "suitcase": "luggage",
    "sports ball": "ball football soccerball baseball basketball",
    "surfboard": "surfboards",
    "cup": "mug cups",
    "wine glass": "wineglass",
    "bottle": "bottles",
    "bowl": "bowls",
    "sandwich": "burger hamburger sandwiches",
    "donut": "doughnut donuts doughnuts",
    "cake": "cupcake cakes",
    "couch": "sofa",
    "potted plant": "houseplant",
    "dining table": "table desk",
    "tv": "television monitor",
    "laptop": "computer notebook",
    "cell phone": "phone smartphone",
    "refrigerator": "fridge",
    "oven": "stove",
    "book": "books",
    "teddy bear": "teddy",
    "hair drier": "hairdryer",
    "chair": "chairs stool armchair",
    "bed": "beds",
    "pizza": "pizzas",
    "apple": "apples",
    "banana": "bananas",
    "orange": "oranges",
    "carrot": "carrots",
    "kite": "kites",
    "bench": "benches",
    "elephant": "elephants",
    "zebra": "zebras",
    "giraffe": "giraffes",
    "skis": "ski",
    "vase": "vases",
    "clock": "clocks",
    "sink": "washbasin",
}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "person": ("a smiling", "an angry", "an elderly", "a tired", "a laughing"),
    "animal": ("a happy", "an angry", "a sleeping", "a wet", "a muddy"),
    "vehicle": ("a rusty", "a brand new", "a bright yellow", "a dented", "a snow-covered"),
    "food": ("a half-eaten", "a burnt", "a mouldy", "a freshly made", "a decorated"),
}
PLAIN_ATTRIBUTES = ("a broken", "a golden", "a wooden", "a bright red", "a transparent")

_BY_WORD = {name: name for name in COCO} | {
    word: name for name, words in SYNONYMS.items() for word in words.split()
}
_PATTERN = re.compile(
    r"\b(?:" + "|".join(re.escape(word) for word in sorted(_BY_WORD, key=len, reverse=True)) + r")\b"
)


def find_object(caption: str) -> tuple[str, str] | None:
    """(the word as written, its COCO class) of the first object in a caption, or None.

    The longest name wins where several begin at one place, so that a hot dog is no dog.

    >>> find_object("A man eats a Hot Dog on a bench")
    ('man', 'person')
    >>> find_object("Two hot dogs and a hot dog stand")
    ('hot dog', 'hot dog')
    >>> find_object("Mist over the hills") is None
    True
    """
    match = _PATTERN.search(caption.lower())
    return (caption[match.start() : match.end()], _BY_WORD[match[0]]) if match else None


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
    match = find_object(caption)
    if match is not None:
        return [{**row, "object": match[0], "coco_class": match[1], "object_from": "caption"}]
    if outlines:
        random = random_for(f"object/{row['id']}", context.config.seed)
        name = str(outlines[int(random.integers(len(outlines)))].get("category") or "")
        kind = name if name in COCO else None
        return [{**row, "object": name, "coco_class": kind, "object_from": "outline"}]
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
    total = sum(shares[operation] for operation in names)
    drawn = names[int(random.choice(len(names), p=[shares[operation] / total for operation in names]))]
    return {"mode": "operation", "operation": drawn, "replacement": "", "prompt": ""}


def _replacement(row: Row, name: str, context: Context) -> dict[str, str]:
    random = random_for(f"replacement/{name}", context.config.seed)
    kind = row.get("coco_class") or ""
    others = [other for other in SUPERCATEGORIES.get(SUPERCATEGORY.get(kind, ""), ()) if other != kind]
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

    def put(match: re.Match[str]) -> str:
        before = match[1] or ""
        if article or before.strip().lower() in ("a", "an", "one"):
            before = article or ("an " if bare[0].lower() in "aeiou" else "a ")
        text = before + bare
        return text[0].upper() + text[1:] if match.start() == 0 else text

    return pattern.sub(put, row["caption"], count=1)
