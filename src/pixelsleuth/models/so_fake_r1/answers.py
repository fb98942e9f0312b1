"""So-Fake-R1's answer grammar: read tolerantly, checked strictly, written.

    <think>...</think><answer>CLASS[,(x1,y1),(x2,y2)]</answer>

CLASS is REAL, TAMPERED or FULL_SYNTHETIC; a box stands there if and only if the picture is TAMPERED. Boxes count pixels
of the picture resized to 224 x 224, corners inclusive (every printed box lies in 0..223).

`read` takes any text that a model may write; `follows_grammar` says whether the text is what it should be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pixelsleuth.core.verdict import Label

FRAME = 224
QUESTION = (
    "Please carefully describe the content of this image and classify it as REAL, TAMPERED, or FULL_SYNTHETIC. "
    "Additionally, if the image is TAMPERED, output the one bbox to depict the tampered area. "
    "Think first, inside <think> </think>, and then answer, inside <answer> </answer>: the class, and behind a comma "
    "the box as (x1,y1),(x2,y2) if and only if the class is TAMPERED."
)
"""The first two sentences are those that the authors print of their prompt; the third, on the form, is ours."""

NAMES = {"REAL": Label.REAL, "TAMPERED": Label.TAMPERED, "FULL_SYNTHETIC": Label.FULL_SYNTHETIC}
CLASS = re.compile(r"(?<![A-Za-z_])(FULL[ _-]?SYNTHETIC|TAMPERED|REAL)(?![A-Za-z_])", re.IGNORECASE)
NEGATION = re.compile(r"\b(?:not|no|never)(?:\s+\w+)?\s*$", re.IGNORECASE)
NUMBER = r"\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*"
BOX = re.compile(rf"[(\[]{NUMBER},{NUMBER}[)\]]?\s*,\s*[(\[]?{NUMBER},{NUMBER}[)\]]")
THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL | re.IGNORECASE)
ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
TAGS = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)

TAGGED = re.compile(r"\s*<think>((?:(?!</?(?:think|answer)>).)*)</think>\s*<answer>((?:(?!</?(?:think|answer)>).)*)</answer>\s*", re.DOTALL)  # fmt: skip # noqa: E501
STRICT_BOX = r"\(\d{1,3},\d{1,3}\),\(\d{1,3},\d{1,3}\)"
STRICT = re.compile(rf"(?:REAL|FULL_SYNTHETIC|TAMPERED,\s?({STRICT_BOX}))\.?")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Reading:
    """What an answer says.

    `label` is None where no class is named, or several. `box` is (x1, y1, x2, y2) in the 224 px frame, inclusive,
    corners in order and inside the frame; None where there is none. `place` is the position of the class in the text.
    `notes` lists what had to be corrected.
    """

    label: Label | None
    box: Box | None = None
    thought: str = ""
    tagged: bool = False
    notes: tuple[str, ...] = field(default=())
    place: int | None = None


def read(text: str, frame: int = FRAME) -> Reading:
    """Read a model's text: the last answer counts, and it must name a single class.

    >>> read("<think>Odd light.</think><answer>TAMPERED,(68,97),(154,138).</answer>").box
    (68.0, 97.0, 154.0, 138.0)
    >>> read("It is REAL or TAMPERED.").label is None
    True
    """
    thought = THINK.search(text)
    answers = list(ANSWER.finditer(text))
    notes = []
    if not answers:
        notes.append("the answer has no tags")
    elif len(answers) > 1:
        notes.append("several answers: the last counts")
    start = answers[-1].start(1) if answers else thought.end() if thought else 0
    answer = answers[-1][1] if answers else text[start:]
    label, place = _label(answer)
    if label is None:
        notes.append("the answer names no class, or several")
    box = None
    if label is Label.TAMPERED:
        box, corrections = _box(answer, frame)
        notes += corrections
    elif label is not None and BOX.search(answer):
        notes.append("the answer has a box for a picture that is not judged tampered: left out")
    where = None if place is None else start + place
    return Reading(label, box, thought[1].strip() if thought else "", bool(answers), tuple(notes), where)


def follows_tags(text: str) -> bool:
    """True where the text is one thought and one answer in their tags and nothing else."""
    return TAGGED.fullmatch(text) is not None


def follows_grammar(text: str, frame: int = FRAME) -> bool:
    """True where the (last) answer is a class alone, or TAMPERED and one box with its corners in order, in the frame.

    >>> follows_grammar("<answer>REAL</answer>"), follows_grammar("<answer>REAL,(1,2),(3,4)</answer>")
    (True, False)
    """
    answers = ANSWER.findall(text)
    match = STRICT.fullmatch(answers[-1].strip()) if answers else None
    if match is None:
        return False
    if match[1] is None:
        return True
    x1, y1, x2, y2 = map(int, re.findall(r"\d+", match[1]))
    return x1 <= x2 < frame and y1 <= y2 < frame


def write(label: Label, box: Box | None = None, thought: str = "") -> str:
    """The answer in the grammar; the box is written for tampered pictures only.

    >>> write(Label.TAMPERED, (1, 2, 3, 4), "Blurred edges.")
    '<think>Blurred edges.</think><answer>TAMPERED,(1,2),(3,4)</answer>'
    """
    name = next(name for name, named in NAMES.items() if named is label)
    if label is Label.TAMPERED and box is not None:
        x1, y1, x2, y2 = (round(value) for value in box)
        name += f",({x1},{y1}),({x2},{y2})"
    return f"<think>{TAGS.sub('', thought)}</think><answer>{name}</answer>"


def to_picture(box: Box, width: int, height: int, frame: int = FRAME) -> tuple[int, int, int, int]:
    """An inclusive box in the frame as (x0, y0, x1, y1) in pixels of the picture, half open and never empty.

    >>> to_picture((0, 0, 223, 223), 640, 480)
    (0, 0, 640, 480)
    """
    x1, y1, x2, y2 = box
    left, right = _span(x1, x2, width / frame, width)
    top, bottom = _span(y1, y2, height / frame, height)
    return left, top, right, bottom


def to_frame(box: tuple[int, int, int, int], width: int, height: int, frame: int = FRAME) -> Box:
    """A half-open box in a picture as an inclusive one in the frame, in whole pixels; `to_picture` inverts it."""
    x0, y0, x1, y1 = box
    first = (int(x0 * frame / width), int(y0 * frame / height))
    last = (-int(-x1 * frame // width) - 1, -int(-y1 * frame // height) - 1)
    low = [min(max(value, 0), frame - 1) for value in first]
    high = [min(max(value, small), frame - 1) for value, small in zip(last, low, strict=True)]
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes in the frame; corners are inclusive, unlike those of `core.region.box_iou`.

    >>> box_iou((0, 0, 9, 9), (0, 5, 9, 9))
    0.5
    """
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    both = across * down
    return both / (box_area(a) + box_area(b) - both)


def box_area(box: Box) -> float:
    """Pixels of the frame in a box."""
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def _span(low: float, high: float, scale: float, size: int) -> tuple[int, int]:
    start = min(max(0, round(low * scale)), size - 1)
    return start, min(max(start + 1, round((high + 1) * scale)), size)


def _label(answer: str) -> tuple[Label | None, int | None]:
    """The only class that is named (and not negated), and its place."""
    named: dict[Label, int] = {}
    for match in CLASS.finditer(answer):
        if not NEGATION.search(answer[: match.start()]):
            first = match[1][0].upper()
            label = {"R": Label.REAL, "T": Label.TAMPERED}.get(first, Label.FULL_SYNTHETIC)
            named.setdefault(label, match.start())
    return named.popitem() if len(named) == 1 else (None, None)


def _box(answer: str, frame: int) -> tuple[Box | None, list[str]]:
    """The first box of an answer, and notes on what had to be corrected."""
    matches = BOX.findall(answer)
    if not matches:
        return None, ["the answer says tampered and has no box"]
    notes = ["several boxes: the first counts"] if len(matches) > 1 else []
    x1, y1, x2, y2 = map(float, matches[0])
    if x1 > x2 or y1 > y2:
        notes.append("the corners of the box were exchanged")
        x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if x2 < 0 or y2 < 0 or x1 >= frame or y1 >= frame:
        return None, [*notes, "the box lies outside the picture: left out"]
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, frame - 1.0), min(y2, frame - 1.0))
    if inside != (x1, y1, x2, y2):
        notes.append("the box reached beyond the picture: cut")
    return inside, notes
