"""Read FakeVLM's answers: the verdict of the first sentence, the artefacts as a list.

The published evaluation looks for the letters "real" in the first sentence, so that "unrealistic" counts as real, and
throws a coin where neither word occurs. Here whole words count, a negation turns them, and an answer may name no
verdict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pixelsleuth.errors import PixelSleuthError

QUESTION = "Does the image looks real/fake?"
"""Word for word as in FakeClue, slip included: the checkpoint was trained on it."""
OPENING, REAL, FAKE = "This is a", "real", "fake"

WORD = re.compile(r"\b(real|fake)\b", re.IGNORECASE)
NEGATED = re.compile(r"(?:\bnot|\bno|\bn't|n't|\bnever|\bneither|\bnor)(?:\s+\w+){0,2}\s*$", re.IGNORECASE)
SENTENCE = re.compile(r"[.!?\n。]+(?:\s|$)|\n+")
BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")
SMALL_TALK = re.compile(r"\A(?:ASSISTANT|Answer)\s*:\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """The answer on one picture.

    `real` is the likelihood of the word "real" against "fake", in 0..1; None where it is not known. `text` is empty
    where nothing was generated. `cut`: the token limit ended it. `error`: why there is no answer.
    """

    text: str = ""
    real: float | None = None
    cut: bool = False
    error: PixelSleuthError | None = None


@dataclass(frozen=True)
class Reading:
    """What an answer says. `real` is None where it names no verdict; `span` is the place of the verdict's word."""

    real: bool | None
    span: tuple[int, int] | None = None
    artefacts: list[str] = field(default_factory=list)


def read(text: str) -> Reading:
    """Read one answer: the verdict from its first sentence, else its second; the artefacts from the others.

    >>> read("This is a fake image. Six fingers; a shadow that points to the sun.")
    Reading(real=False, span=(10, 14), artefacts=['Six fingers', 'A shadow that points to the sun'])
    >>> read("The lighting is unrealistic.").real is None
    True
    """
    sentences = _sentences(text)
    for number, (start, stop) in enumerate(sentences[:2]):
        verdict = _verdict(text[start:stop])
        if verdict is not None:
            real, begin, end = verdict
            others = [text[a:b] for i, (a, b) in enumerate(sentences) if i != number]
            return Reading(real, (start + begin, start + end), _artefacts(others))
    return Reading(None, None, _artefacts([text[a:b] for a, b in sentences]))


def read_as_released(text: str) -> bool | None:
    """The published rule (letters, not words; first sentence, then second); None where it throws a coin.

    >>> read_as_released("An unrealistic picture."), read_as_released("Who knows.")
    (True, None)
    """
    for sentence in text.lower().split(".")[:2]:
        if "real" in sentence:
            return True
        if "fake" in sentence:
            return False
    return None


def _sentences(text: str) -> list[tuple[int, int]]:
    """(start, stop) of every sentence that is not empty."""
    begin = SMALL_TALK.match(text)
    start, spans = begin.end() if begin else 0, []
    for match in SENTENCE.finditer(text, start):
        spans.append((start, match.start()))
        start = match.end()
    spans.append((start, len(text)))
    return [(a, b) for a, b in spans if text[a:b].strip()]


def _verdict(sentence: str) -> tuple[bool, int, int] | None:
    """Verdict and place of its word; None where the sentence names no verdict, or both."""
    verdicts: dict[bool, re.Match[str]] = {}
    for match in WORD.finditer(sentence):
        negated = NEGATED.search(sentence[: match.start()]) is not None
        verdicts.setdefault((match[1].lower() == REAL) != negated, match)
    if len(verdicts) != 1:
        return None
    ((real, match),) = verdicts.items()
    return real, match.start(), match.end()


def _artefacts(sentences: list[str]) -> list[str]:
    """Clauses between semicolons, bullets or lines, each capitalised and without a full stop, none twice."""
    clauses: dict[str, None] = {}
    for sentence in sentences:
        for clause in sentence.split(";"):
            clean = BULLET.sub("", clause).strip().strip(".").strip()
            if len(clean) > 2:
                clauses.setdefault(clean[0].upper() + clean[1:])
    return list(clauses)
