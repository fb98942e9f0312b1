"""Claim accuracy: does an explanation name what was done, where, how much and to what?

`claims_of` extracts the statements of a text: by the grammar of the compact model where the text follows it, else by
words for a place, a size, an operation. `truth_of` gives the same kinds from the forge's record, or from the mask and
the manifest. A claim is right, wrong, or unchecked (the record does not hold its kind); a kind that the record holds
and the text leaves out is *unsaid*. Saying little does not lower the accuracy, but it shows in the coverage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pixelsleuth.compact import grammar

KINDS = ("label", "place", "size", "operation", "object", "trace")
_OF_FORGERY = ("place", "size", "operation", "trace")
RIGHT, WRONG, UNCHECKED, UNSAID = "right", "wrong", "unchecked", "unsaid"

_ROWS = {"upper": ("upper", "top"), "lower": ("lower", "bottom")}
_COLUMNS = {"left": ("left",), "right": ("right",)}
_MIDDLE = r"\b(?:cent(?:re|er)|middle|central)\b"
_OPERATIONS = {
    "splice": r"\bsplic\w*|\bpasted from another|\bcomposit\w*|\binserted from another",
    "copy-move": r"\bcopy[- ]move\w*|\bcopied from elsewhere|\bcloned?\b|\bduplicat\w*",
    "removal": r"\bremov\w*|\bfilled in from its surroundings|\berased\b",
    "local edit": r"\bretouch\w*|\blocal edit\w*|\blocally edited",
    "generative edit": r"\bredrawn by a generator|\binpaint\w*|\bgenerative\w* (?:edit|fill)\w*",
}
_SYNONYMS = {"inpainting": "generative edit", "copy move": "copy-move", "copymove": "copy-move"}
_LABELS = (
    ("tampered", r"\btampered\b|\bwas (?:altered|manipulated|edited|changed)\b"),
    ("full_synthetic", r"\b(?:full[ _-]?synthetic|synthetic|ai[- ]generated|made by a generator)\b"),
    ("fake", r"\bfake\b"),
    ("real", r"\b(?:real|authentic|genuine)\b|\bno region stands out\b|\bnothing was changed\b"),
)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|percent)")


def claims_of(text: str) -> dict[str, str]:
    """The claims of an explanation by kind; a kind that it does not speak of is missing.

    >>> claims_of("In the centre, 2 to 5 % of the picture was retouched in place; its pixels were resampled.")
    {'label': 'tampered', 'place': 'centre', 'size': '2 to 5 %', 'operation': 'local edit', 'trace': 'resampled'}
    """
    plain = " ".join(text.lower().split())
    exact = grammar.parse(_grammatical(plain))
    if exact is not None:
        return _of_grammar(exact)
    claims: dict[str, str] = {}
    label = next((name for name, words in _LABELS if re.search(words, plain)), None)
    if label:
        claims["label"] = label
    claims |= {kind: value for kind, value in (("place", _place(plain)), ("size", _size(plain))) if value}
    for operation, words in _OPERATIONS.items():
        if re.search(words, plain):
            claims["operation"] = operation
            claims.setdefault("label", "tampered")
            break
    trace = next((key for key, words in grammar.TRACES.items() if words in plain), None)
    return claims | ({"trace": trace} if trace else {})


def truth_of(record: Mapping[str, Any], mask: np.ndarray | None = None) -> dict[str, Any]:
    """What is known, by kind. `record` holds any of label, place, size, operation, object, replacement, traces (the
    forge's claims); `mask` (H, W), where given, gives place and size where the record does not.

    >>> truth_of({"label": "tampered", "operation": "inpainting", "object": "Dog"})
    {'label': 'tampered', 'operation': 'generative edit', 'object': ['dog']}
    """
    truth: dict[str, Any] = {}
    if record.get("label"):
        truth["label"] = str(record["label"])
    if mask is not None and mask.any():
        truth |= {"place": grammar.place(mask), "size": grammar.size(mask)}
    truth |= {kind: str(record[kind]) for kind in ("place", "size") if record.get(kind)}
    if record.get("operation"):
        operation = str(record["operation"]).split(" (")[0].lower()
        truth["operation"] = _SYNONYMS.get(operation, operation)
    names = [str(record[key]).lower() for key in ("object", "replacement") if record.get(key)]
    if names:
        truth["object"] = names
    if record.get("traces"):
        truth["trace"] = [str(trace) for trace in record["traces"]]
    return truth


def check_claims(text: str, truth: Mapping[str, Any]) -> dict[str, str]:
    """For each kind that the text or the truth speaks of: right, wrong, unchecked or unsaid.

    >>> text = "In the centre, 2 to 5 % of the picture was retouched in place."
    >>> check_claims(text, {"label": "tampered", "place": "centre", "operation": "splice", "object": ["dog"]})
    {'label': 'right', 'place': 'right', 'size': 'unchecked', 'operation': 'wrong', 'object': 'unsaid'}
    """
    claimed: dict[str, Any] = dict(claims_of(text))
    if "object" in truth:
        plain = text.lower()
        if any(re.search(rf"\b{re.escape(name)}", plain) for name in truth["object"]):
            claimed["object"] = truth["object"][0]
    # A text that calls an unedited picture tampered has invented its place, size and operation.
    invented = claimed.get("label") == "tampered" and truth.get("label") in ("real", "full_synthetic")
    outcome = {}
    for kind in KINDS:
        if kind in claimed and kind in truth:
            allowed = truth[kind] if isinstance(truth[kind], list) else [truth[kind]]
            if kind == "label" and truth[kind] != "real":
                allowed = [*allowed, "fake"]  # a text that leaves open which of the two is not wrong
            outcome[kind] = RIGHT if claimed[kind] in allowed else WRONG
        elif kind in claimed:
            outcome[kind] = WRONG if kind in _OF_FORGERY and invented else UNCHECKED
        elif kind in truth:
            outcome[kind] = UNSAID
    return outcome


@dataclass
class ClaimScores:
    """Counts outcomes by kind; mergeable.

    >>> scores = ClaimScores()
    >>> scores.update({"label": "right", "place": "wrong", "size": "unsaid"})
    >>> whole = scores.compute()["all"]
    >>> whole["accuracy"], round(whole["coverage"], 3)
    (0.5, 0.667)
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def update(self, outcome: Mapping[str, str]) -> None:
        """One picture's `check_claims`."""
        for kind, result in outcome.items():
            row = self.counts.setdefault(kind, dict.fromkeys((RIGHT, WRONG, UNCHECKED, UNSAID), 0))
            row[result] += 1

    def merge(self, other: ClaimScores) -> ClaimScores:
        """Take over what `other` has counted."""
        for kind, row in other.counts.items():
            mine = self.counts.setdefault(kind, dict.fromkeys((RIGHT, WRONG, UNCHECKED, UNSAID), 0))
            for result, number in row.items():
                mine[result] += number
        return self

    def compute(self) -> dict[str, dict[str, float]]:
        """By kind, and "all" together: the counts; `accuracy` = right / (right + wrong); `coverage` = (right + wrong) /
        (right + wrong + unsaid). NaN where nothing could be checked.
        """
        whole = dict.fromkeys((RIGHT, WRONG, UNCHECKED, UNSAID), 0)
        for row in self.counts.values():
            for result, number in row.items():
                whole[result] += number
        rows = {kind: self.counts[kind] for kind in KINDS if kind in self.counts} | {"all": whole}
        return {kind: _rates(row) for kind, row in rows.items()}


def _rates(row: Mapping[str, int]) -> dict[str, float]:
    checked, known = row[RIGHT] + row[WRONG], row[RIGHT] + row[WRONG] + row[UNSAID]
    nan = float("nan")
    return {
        **row,
        "accuracy": row[RIGHT] / checked if checked else nan,
        "coverage": checked / known if known else nan,
    }


def _grammatical(plain: str) -> str:
    return plain.rstrip(".").replace(",", " ,").replace(";", " ;")


def _of_grammar(parsed: Mapping[str, str]) -> dict[str, str]:
    """The claims of a text that the grammar could parse."""
    if parsed.get("opening") == grammar.UNDECIDED:
        return {}
    if "place" not in parsed:
        return {"label": next((k for k, v in grammar.OPENINGS.items() if v == parsed["opening"]), "tampered")}
    claims = {"label": "tampered", "place": parsed["place"], "size": parsed["size"]}
    for kind, words in (("operation", grammar.OPERATIONS), ("trace", grammar.TRACES)):
        key = next((key for key, phrase in words.items() if phrase == parsed.get(kind)), None)
        claims |= {kind: key} if key else {}
    return claims


def _place(plain: str) -> str | None:
    """The place that the first of its sentences names, as one of the grammar's nine."""
    row = next((name for name, words in _ROWS.items() if _any(words, plain)), None)
    column = next((name for name, words in _COLUMNS.items() if _any(words, plain)), None)
    middle = re.search(_MIDDLE, plain) is not None
    if row is None and column is None:
        return "centre" if middle else None
    if row is not None and column is not None:
        return f"{row} {column}"
    return f"{row} centre" if row is not None else f"centre {column}"


def _any(words: tuple[str, ...], plain: str) -> bool:
    return any(re.search(rf"\b{word}\b", plain) for word in words)


def _size(plain: str) -> str | None:
    for words in grammar.SIZES.values():
        if words in plain:
            return words
    percent = _PERCENT.search(plain)
    if percent is None:
        return None
    share = float(percent[1]) / 100
    return next((word for bound, word in grammar.SIZES.items() if share < bound), None)
