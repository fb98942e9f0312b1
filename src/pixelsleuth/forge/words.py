"""The words of the forge: COCO's 80 classes by supercategory, their everyday names, and attribute dictionaries.

SID-Set names its dictionaries but does not publish them. These are ours: an object is replaced by another of its
supercategory, a part by an attribute of its supercategory. Source of the classes: COCO 2017.
"""

from __future__ import annotations

import re

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
    found = _PATTERN.search(caption.lower())
    return (caption[found.start() : found.end()], _BY_WORD[found[0]]) if found else None
