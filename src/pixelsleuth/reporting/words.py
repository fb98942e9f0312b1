"""The words for a verdict, shared by terminal and report. Pure functions; no numpy, no Pillow."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelsleuth.core.region import Region
    from pixelsleuth.core.verdict import Verdict

STATES = ("tampered", "full_synthetic", "real", "inconclusive", "failed")
"""The three labels, thin evidence, and files that could not be judged."""

NAMES = {
    "real": "Real",
    "full_synthetic": "Wholly generated",
    "tampered": "Tampered",
    "inconclusive": "Inconclusive",
    "failed": "Not judged",
}

MEANINGS = {
    "real": "No sign of generation or tampering was found.",
    "full_synthetic": "The picture as a whole looks made by a generator.",
    "tampered": "Part of this picture looks altered.",
    "inconclusive": "The evidence is too thin to decide.",
    "failed": "This file could not be judged.",
}


def state_of(verdict: Verdict) -> str:
    """The verdict's entry of `STATES`; an inconclusive verdict never counts under its label."""
    if verdict.error is not None or verdict.label is None:
        return "failed"
    return "inconclusive" if verdict.inconclusive else str(verdict.label)


def headline(verdict: Verdict) -> str:
    """The verdict in a word or three: `"Tampered"`, `"Inconclusive, leans real"`.

    With a measured decision an inconclusive verdict leans nowhere: that would be half an accusation.
    """
    state = state_of(verdict)
    if state == "inconclusive" and not leans_nowhere(verdict):
        return f"Inconclusive, leans {NAMES[str(verdict.label)].lower()}"
    return NAMES[state]


RAW_SCORES = "Raw scores of the model: they decide nothing here."


def leans_nowhere(verdict: Verdict) -> bool:
    """True for an inconclusive verdict of a model with a measured decision: its scores stay mere scores."""
    return state_of(verdict) == "inconclusive" and verdict.decision is not None


def meaning(verdict: Verdict) -> str:
    """One sentence on what the headline means; for a failure, the error's message."""
    if verdict.error is not None:
        return str(verdict.error.get("message") or MEANINGS["failed"])
    return MEANINGS[state_of(verdict)]


def percent(value: float | None) -> str:
    """A share in 0..1 as a percentage; `0%` and `100%` only for exactly 0 and 1.

    >>> percent(0.934), percent(0.9991), percent(0.002), percent(1.0), percent(None)
    ('93%', '>99%', '<1%', '100%', 'n/a')
    """
    if value is None or not math.isfinite(value):
        return "n/a"
    if 0 < value < 0.01:
        return "<1%"
    if 0.99 < value < 1:
        return ">99%"
    return f"{value:.0%}"


def place(box: tuple[int, int, int, int], width: int, height: int) -> str:
    """The place of a box in words: its centre on a three by three grid.

    >>> place((0, 0, 10, 10), 100, 100), place((40, 40, 60, 60), 100, 100), place((70, 40, 100, 60), 100, 100)
    ('upper left', 'centre', 'right')
    """
    column = min(2, int(3 * (box[0] + box[2]) / 2 / max(width, 1)))
    row = min(2, int(3 * (box[1] + box[3]) / 2 / max(height, 1)))
    if (row, column) == (1, 1):
        return "centre"
    if row == 1:
        return ("left", "", "right")[column]
    vertical = ("upper", "", "lower")[row]
    return f"{vertical} {('left', 'middle', 'right')[column]}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`count(1, "picture")` is `"1 picture"`, `count(3, "picture")` is `"3 pictures"`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def short_number(value: int | None) -> str:
    """A count of parameters as people write it.

    >>> short_number(7_060_000_000), short_number(2_400_000), short_number(None)
    ('7.1 B', '2.4 M', 'n/a')
    """
    if value is None:
        return "n/a"
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.1f} {name}"
    return str(value)


def short_bytes(value: int | None) -> str:
    """A size in decimal units.

    >>> short_bytes(14_100_000_000), short_bytes(950_000), short_bytes(None)
    ('14.1 GB', '0.9 MB', 'n/a')
    """
    if value is None:
        return "n/a"
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"


def tally(states: Counter[str]) -> str:
    """The count of every state that occurs, in one line.

    >>> tally(Counter(["real", "real", "tampered", "failed"]))
    '1 tampered, 2 real, 1 not judged'
    """
    return ", ".join(f"{states[state]} {NAMES[state].lower()}" for state in STATES if states[state])


def ranked(verdict: Verdict) -> list[Region]:
    """The regions, surest first: the order of the numbers that `Verdict.overlay` draws."""
    return sorted(verdict.regions, key=lambda region: -region.score)


def altered_share(verdict: Verdict) -> float | None:
    """The share of the picture that the mask covers, in 0..1; None without mask or region."""
    if verdict.mask is None or not verdict.width or not verdict.height or not verdict.regions:
        return None
    return float(verdict.mask.sum()) / (verdict.width * verdict.height)


def statements(verdict: Verdict) -> list[str]:
    """The model's claims that the explanation does not contain; what the file says has a strength and is left out."""
    explanation = (verdict.explanation or "").lower()
    claims = (item for item in verdict.evidence if "strength" not in item)
    statements = (str(item.get("statement") or "").strip() for item in claims)
    return [statement for statement in statements if statement and statement.lower() not in explanation]


def panel_lines(verdict: Verdict) -> list[str]:
    """A line for each member of a panel: the score for its own class, whether it decides, how often it was wrong."""
    return [_panel_line(member) for member in verdict.panel]


def _panel_line(member: dict[str, Any]) -> str:
    made_for = member.get("made_for")
    shown = made_for or member["label"]
    score = f"{NAMES[shown].lower()} {percent(member['probabilities'].get(shown))}"
    figures = member.get("figures") or {}
    if member.get("conclusive"):
        stand = "conclusive"
    elif member.get("speaks_for"):
        stand = "not conclusive"
    else:
        stand = "decides nothing" if figures.get("measured") else "never measured here, so it decides nothing"
    notes = [stand, *(str(figures[key]) for key in ("measured", "published") if figures.get(key))]
    return printable(f"{member['name']}: {score}, {'; '.join(notes)}")


def trust(verdict: Verdict) -> list[str]:
    """How far to rely on the verdict: how often such verdicts were wrong, and the two bounds; a sentence each."""
    if verdict.error is not None or verdict.label is None:
        return []
    decision = verdict.decision
    if decision is None:
        return ["No error rate was measured for this model."]
    lines = [str(decision.get("sentence") or "")]
    bounds, accused = decision.get("bounds"), decision.get("accused")
    if bounds:
        lines.append(
            f"Bounds: at least {percent(bounds['right'])} of conclusive verdicts right, "
            f"at most {percent(bounds['accused'])} of authentic pictures accused"
            + (
                f" ({accused['wrong']} of {accused['of']} were, from {accused['sources']} sources)."
                if accused
                else "."
            )
        )
    return [line for line in lines if line]


def printable(text: object) -> str:
    """Text that is safe to show: control characters and undecodable bytes become visible marks.

    A file name can hold terminal escape codes, line breaks or invalid UTF-8. Bidirectional overrides are replaced too:
    they make `gpj.exe` read as `exe.jpg`.

    >>> printable("a\\x1b[31mb\\nc"), printable("caf\\udce9")
    ('a�[31mb�c', 'caf�')
    """
    return "".join("\ufffd" if _unsafe(character) else character for character in str(text))


def split_source(source: str) -> tuple[str, str]:
    """The folder of a source with its last separator, and the name in it.

    >>> split_source("a/b.jpg"), split_source("c.jpg")
    (('a/', 'b.jpg'), ('', 'c.jpg'))
    """
    cut = max(source.rfind("/"), source.rfind("\\")) + 1
    return source[:cut], source[cut:] or source


def _unsafe(character: str) -> bool:
    code = ord(character)
    control = code < 32 or 127 <= code < 160
    surrogate = 0xD800 <= code <= 0xDFFF
    return (
        control
        or surrogate
        or code in (0x2028, 0x2029)
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
    )


def model_name(verdict: Verdict) -> str:
    """Name and version of the model behind one verdict, `""` when unknown."""
    return f"{verdict.model.get('name', '')} {verdict.model.get('version', '')}".strip()
