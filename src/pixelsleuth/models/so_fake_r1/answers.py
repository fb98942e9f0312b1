"""So-Fake-R1's answer grammar, read tolerantly and checked strictly.

    <think>...</think><answer>CLASS[,(x1,y1),(x2,y2)]</answer>

CLASS is REAL, TAMPERED or FULL_SYNTHETIC; a box stands there if and only if the picture is TAMPERED. Boxes count pixels
of the picture resized to 224 x 224, corners inclusive (every printed box lies in 0..223).

`read` takes what a model may write; `follows_grammar` tells whether it is what the model should have written.
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
"""The first two sentences are what the authors print of their prompt (with what they leave out left out); the third,
which tells the form, is ours."""

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
    """An answer as read.

    `label` is None where no class, or more than one, is named. `box` is (x1, y1, x2, y2) in the 224 px frame, corners
    in order and inside the frame, inclusive; None where there is none. `place` is where the class stands in the text.
    `notes` tells what had to be put right.
    """

    label: Label | None
    box: Box | None = None
    thought: str = ""
    tagged: bool = False
    notes: tuple[str, ...] = field(default=())
    place: int | None = None


def read(text: str, frame: int = FRAME) -> Reading:
    """Read what a model wrote: the last answer counts, its class must be the only one in it.

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
    said = answers[-1][1] if answers else text[start:]
    label, place = _label(said)
    if label is None:
        notes.append("the answer names no class, or several")
    box = None
    if label is Label.TAMPERED:
        box, told = _box(said, frame)
        notes += told
    elif label is not None and BOX.search(said):
        notes.append("a box was told for a picture that is not judged tampered: left out")
    where = None if place is None else start + place
    return Reading(label, box, thought[1].strip() if thought else "", bool(answers), tuple(notes), where)


def follows_tags(text: str) -> bool:
    """True where the text is one thought and one answer in their tags, and nothing else."""
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
    """The answer in its own grammar; the box is written for tampered pictures alone.

    >>> write(Label.TAMPERED, (1, 2, 3, 4), "Blurred edges.")
    '<think>Blurred edges.</think><answer>TAMPERED,(1,2),(3,4)</answer>'
    """
    name = next(name for name, one in NAMES.items() if one is label)
    if label is Label.TAMPERED and box is not None:
        x1, y1, x2, y2 = (round(value) for value in box)
        name += f",({x1},{y1}),({x2},{y2})"
    return f"<think>{TAGS.sub('', thought)}</think><answer>{name}</answer>"


def to_picture(box: Box, width: int, height: int, frame: int = FRAME) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) in pixels of the picture, half open and never empty, of an inclusive box in the frame.

    >>> to_picture((0, 0, 223, 223), 640, 480)
    (0, 0, 640, 480)
    """
    x1, y1, x2, y2 = box
    left, right = _span(x1, x2, width / frame, width)
    top, bottom = _span(y1, y2, height / frame, height)
    return left, top, right, bottom


def to_frame(box: tuple[int, int, int, int], width: int, height: int, frame: int = FRAME) -> Box:
    """The inclusive box in the frame (whole pixels) of a half-open one in a picture; `to_picture` takes it back."""
    x0, y0, x1, y1 = box
    first = (int(x0 * frame / width), int(y0 * frame / height))
    last = (-int(-x1 * frame // width) - 1, -int(-y1 * frame // height) - 1)
    low = [min(max(value, 0), frame - 1) for value in first]
    high = [min(max(value, small), frame - 1) for value, small in zip(last, low, strict=True)]
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _span(low: float, high: float, scale: float, size: int) -> tuple[int, int]:
    start = min(max(0, round(low * scale)), size - 1)
    return start, min(max(start + 1, round((high + 1) * scale)), size)


def _label(said: str) -> tuple[Label | None, int | None]:
    """The one class that is named (and not denied), and where."""
    named: dict[Label, int] = {}
    for match in CLASS.finditer(said):
        if not NEGATION.search(said[: match.start()]):
            first = match[1][0].upper()
            label = {"R": Label.REAL, "T": Label.TAMPERED}.get(first, Label.FULL_SYNTHETIC)
            named.setdefault(label, match.start())
    return named.popitem() if len(named) == 1 else (None, None)


def _box(said: str, frame: int) -> tuple[Box | None, list[str]]:
    matches = BOX.findall(said)
    if not matches:
        return None, ["tampered, but no box is told"]
    notes = ["several boxes: the first counts"] if len(matches) > 1 else []
    x1, y1, x2, y2 = map(float, matches[0])
    if x1 > x2 or y1 > y2:
        notes.append("the box was told with its corners exchanged")
        x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if x2 < 0 or y2 < 0 or x1 >= frame or y1 >= frame:
        return None, [*notes, "the box lies outside the picture: left out"]
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, frame - 1.0), min(y2, frame - 1.0))
    if inside != (x1, y1, x2, y2):
        notes.append("the box reached beyond the picture: cut")
    return inside, notes
