"""The grammar of the compact model's explanations: a few phrases, each a claim that can be checked.

A sentence has the order in which the model writes its words:

    tampered:  in the PLACE , SIZE of the picture was OPERATION ; TRACE
    synthetic: the texture of the whole picture is that of a generator ; NOISE ; DETAIL
    real:      no region stands out ; NOISE ; DETAIL

PLACE, SIZE, OPERATION, TRACE, NOISE and DETAIL are the tables below. For training they come from the forge's record or
are measured in the pixels, so that every target is true by construction. `parse` turns a text back into claims.
"""

from __future__ import annotations

import re

import numpy as np

from pixelsleuth.core.region import middle_of_strongest

PLACES = (
    "upper left", "upper centre", "upper right", "centre left", "centre", "centre right",
    "lower left", "lower centre", "lower right",
)  # fmt: skip
SIZES = {
    0.02: "less than 2 %",
    0.05: "2 to 5 %",
    0.10: "5 to 10 %",
    0.20: "10 to 20 %",
    0.40: "20 to 40 %",
    1.01: "more than 40 %",
}
OPERATIONS = {
    "splice": "pasted from another picture",
    "copy-move": "copied from elsewhere in this picture",
    "removal": "filled in from its surroundings",
    "local edit": "retouched in place",
    "generative edit": "redrawn by a generator",
}
TRACES = {
    "noise": "its noise differs from the rest",
    "resampled": "its pixels were resampled",
    "recompressed": "its compression differs from the rest",
    "repeated": "it repeats another part of the picture",
    "smooth": "it is smoother than its surroundings",
    "sharpened": "it is sharper than its surroundings",
    "generator": "its texture is that of a generator",
}
NOISE = ("noise is very low", "noise is low", "noise is moderate", "noise is strong")
DETAIL = ("fine detail is soft", "fine detail is normal", "fine detail is crisp")
NOISE_BOUNDS = (0.35, 0.9, 2.0)
"""Upper bounds of the first three NOISE words, in grey levels of 255 (robust sigma of the residual in flat places)."""
DETAIL_BOUNDS = (0.45, 0.62)
"""Upper bounds of the first two DETAIL words: share of fine gradient left after halving the picture's resolution."""
OPENINGS = {
    "real": "no region stands out",
    "full_synthetic": "the texture of the whole picture is that of a generator",
}
UNDECIDED = "nothing conclusive"
NOWHERE = "no single place stands out"
HIGHEST = "the map is highest in the"
"""Words for what was measured, never learned: `compact.ruling` builds sentences of them."""
WORDS = ("in", "the", ",", "of", "picture", "was", ";")
SPECIAL = ("<pad>", "<s>", "USER", "<im_start>", "<im_end>", "ASSISTANT", "[CLS]", "[SEG]", "[END]")
QUESTION = "is this picture real , full synthetic or tampered ?"
ANSWERS = {
    "real": "the picture is real",
    "full_synthetic": "the picture is full synthetic",
    "tampered": "the picture is tampered",
}


def _vocabulary() -> list[str]:
    texts = [
        *PLACES,
        *SIZES.values(),
        *OPERATIONS.values(),
        *TRACES.values(),
        *NOISE,
        *DETAIL,
        *OPENINGS.values(),
    ]
    words = " ".join([*texts, *WORDS, QUESTION, *ANSWERS.values()]).split()
    return [*SPECIAL, *sorted(set(words))]


VOCABULARY = _vocabulary()
IDS = {word: index for index, word in enumerate(VOCABULARY)}
PROMPT_BEFORE = ("<s>", "USER", "<im_start>")
PROMPT_AFTER = ("<im_end>", *QUESTION.split(), "ASSISTANT")


def encode(text: str) -> list[int]:
    """Token ids of a text of this grammar. Raises KeyError for a word outside it."""
    return [IDS[word] for word in text.split()]


def place(mask: np.ndarray, scores: np.ndarray | None = None) -> str:
    """PLACE of a mask (H, W): the third of the picture, each way, that holds the middle of its strongest region.

    The middle of scattered spots may be an unmarked place, so one region counts: that with the largest sum of `scores`
    (H, W), or without them the largest.
    """
    row, column = middle_of_strongest(np.asarray(mask) > 0, scores)
    down = min(int(3 * (row + 0.5) / mask.shape[0]), 2)
    across = min(int(3 * (column + 0.5) / mask.shape[1]), 2)
    return PLACES[3 * down + across]


def size(mask: np.ndarray) -> str:
    """SIZE of a mask (H, W): its share of the picture."""
    share = float((mask > 0).mean())
    return next(word for bound, word in SIZES.items() if share < bound)


def measure(pixels: np.ndarray) -> tuple[str, str]:
    """(NOISE, DETAIL) words measured from (H, W, 3) uint8, at most about a megapixel from the middle."""
    top, left = max(0, (pixels.shape[0] - 1024) // 2), max(0, (pixels.shape[1] - 1024) // 2)
    grey = pixels[top : top + 1024, left : left + 1024].mean(axis=2, dtype=np.float32)
    residual = np.abs(grey[1:-1, 1:-1] * 2 - grey[1:-1, :-2] - grey[1:-1, 2:]) / np.sqrt(6)
    blocks = residual[: residual.shape[0] // 8 * 8, : residual.shape[1] // 8 * 8]
    medians = blocks.reshape(blocks.shape[0] // 8, 8, -1, 8).mean(axis=(1, 3))
    noise = float(np.quantile(medians, 0.15)) if medians.size else 0.0
    fine = float(np.abs(np.diff(grey, axis=1)).mean()) + 1e-3
    coarse = float(np.abs(grey[:, 2:] - grey[:, :-2]).mean()) + 1e-3
    detail = fine / coarse
    return NOISE[int(np.searchsorted(NOISE_BOUNDS, noise))], DETAIL[
        int(np.searchsorted(DETAIL_BOUNDS, detail))
    ]


def describe_forgery(mask: np.ndarray, operation: str, trace: str) -> str:
    """The tampered sentence for a forge record."""
    return f"{locate(mask)} {OPERATIONS[operation]} ; {TRACES[trace]}"


def locate(mask: np.ndarray, scores: np.ndarray | None = None) -> str:
    """The opening of a tampered sentence, measured from a mask with at least one pixel; `scores` as for `place`."""
    return f"in the {place(mask, scores)} , {size(mask)} of the picture was"


def describe_whole(label: str, pixels: np.ndarray) -> str:
    """The sentence for a real or full synthetic picture, with what was measured in it."""
    noise, detail = measure(pixels)
    return f"{OPENINGS[label]} ; {noise} ; {detail}"


def sentences(label: str) -> list[list[str]]:
    """Every sentence that the grammar allows for a label, as words."""
    if label != "tampered":
        return [f"{OPENINGS[label]} ; {noise} ; {detail}".split() for noise in NOISE for detail in DETAIL]
    return [
        f"in the {where} , {share} of the picture was {operation} ; {trace}".split()
        for where in PLACES
        for share in SIZES.values()
        for operation in OPERATIONS.values()
        for trace in TRACES.values()
    ]


def _choice(values: object) -> str:
    return "|".join(re.escape(value) for value in values)  # type: ignore[attr-defined]


_PLACE = _choice(sorted(PLACES, key=len, reverse=True))
_TAMPERED = re.compile(
    rf"in the (?P<place>{_PLACE}) , (?P<size>{_choice(SIZES.values())}) of the picture"
    rf" was (?P<operation>{_choice(OPERATIONS.values())}) ; (?P<trace>{_choice(TRACES.values())})"
)
_MEASURED = rf"(?P<noise>{_choice(NOISE)}) ; (?P<detail>{_choice(DETAIL)})"
_WHOLE = re.compile(rf"(?P<opening>{_choice([*OPENINGS.values(), UNDECIDED, NOWHERE])}) ; {_MEASURED}")
_OPERATION, _TRACE = (
    rf"(?P<operation>{_choice(OPERATIONS.values())})",
    rf"(?P<trace>{_choice(TRACES.values())})",
)
_WHERE = rf"(?P<place>{_PLACE}) , over (?P<size>{_choice(SIZES.values())}) of the picture"
_CAREFUL = (
    re.compile(rf"(?P<opening>{UNDECIDED})"),
    re.compile(rf"{HIGHEST} {_WHERE}(?: ; part of it was {_OPERATION})? ; (?:{_TRACE}|{_MEASURED})"),
    re.compile(
        rf"in the (?P<place>{_PLACE}) , (?P<size>{_choice(SIZES.values())}) of the picture"
        rf" was {_OPERATION} ; {_MEASURED}"
    ),
)


def parse(text: str) -> dict[str, str] | None:
    """Claims of a text of this grammar by kind, or None where the text is not of the grammar.

    >>> parse("no region stands out ; noise is low ; fine detail is soft")["noise"]
    'noise is low'
    """
    for pattern in (_TAMPERED, _WHOLE, *_CAREFUL):
        match = pattern.fullmatch(text)
        if match:
            return {kind: claim for kind, claim in match.groupdict().items() if claim is not None}
    return None


def prose(text: str) -> str:
    """The text as a person would write it.

    >>> prose("in the centre , 2 to 5 % of the picture was retouched in place ; its pixels were resampled")
    'In the centre, 2 to 5 % of the picture was retouched in place; its pixels were resampled.'
    """
    text = text.replace(" ,", ",").replace(" ;", ";")
    return text[:1].upper() + text[1:] + "." if text else text
