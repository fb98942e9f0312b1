"""What reviewers decided, as JSON lines in a file that only grows; the last decision of each reviewer counts.

A picture is accepted when more reviewers accept it than reject it, rejected when it is the other way round, and
disputed when they are even. A corrected text or mask is taken from the reviewer who spoke last.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixelsleuth.core.io import append_at, failed, lock
from pixelsleuth.forge.stages import Row, read_rows, write_rows

FILE = "review.jsonl"
DECISIONS = ("accept", "reject")


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided about a picture. `mask`: a corrected mask's path in the run's folder."""

    id: str
    reviewer: str
    decision: str
    description: str = ""
    mask: str = ""
    note: str = ""


def append_decision(folder: Path, decision: Decision) -> None:
    """Add a decision to the file, a whole line or, on a full disk, none.

    Raises OutputError where it cannot be written, and UnicodeError for text that is none (half a surrogate pair).
    """
    line = json.dumps(asdict(decision), ensure_ascii=False).encode() + b"\n"
    path = folder / FILE
    try:
        with path.open("ab", buffering=0) as stream:
            lock(stream.fileno(), wait=True)  # the page's server answers each request in a thread of its own
            append_at(stream.fileno(), line, stream.seek(0, os.SEEK_END))
            os.fsync(stream.fileno())
    except OSError as error:
        raise failed(path, "file of decisions", error) from error


def read_decisions(folder: Path) -> dict[str, dict[str, Decision]]:
    """The last decision of each reviewer on each picture: {picture: {reviewer: decision}}, latest last."""
    decisions: dict[str, dict[str, Decision]] = {}
    path = folder / FILE
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            decision = Decision(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a line that was cut off
        if decision.decision in DECISIONS:
            of_picture = decisions.setdefault(decision.id, {})
            of_picture.pop(decision.reviewer, None)
            of_picture[decision.reviewer] = decision
    return decisions


def outcome(decisions: Iterable[Decision]) -> str:
    """accepted, rejected or disputed, by the majority of reviewers.

    >>> outcome([Decision("a", "x", "accept"), Decision("a", "y", "reject")])
    'disputed'
    """
    counts = Counter(decision.decision for decision in decisions)
    balance = counts["accept"] - counts["reject"]
    return "accepted" if balance > 0 else "rejected" if balance < 0 else "disputed"


def apply_decisions(lines: Path, folder: Path) -> Path:
    """Write `reviewed.jsonl`: rejected and disputed pictures left out, corrections put in; unseen ones stay."""
    decisions = read_decisions(folder)
    kept: list[Row] = []
    for row in read_rows(lines):
        about = list(decisions.get(row["id"], {}).values())
        if not about or outcome(about) == "accepted":
            kept.append(_corrected(row, about))
    return write_rows(folder / "reviewed.jsonl", kept)


def _corrected(row: Row, decisions: list[Decision]) -> Row:
    if not decisions:
        return row
    made = {**row, "review": "accepted", "reviewers": sorted(decision.reviewer for decision in decisions)}
    accepting = [decision for decision in decisions if decision.decision == "accept"]
    edited = [decision for decision in accepting if decision.description not in ("", row["description"])]
    if edited:
        made |= {"description": edited[-1].description, "described_by": [f"reviewer {edited[-1].reviewer}"]}
    masks = [decision.mask for decision in accepting if decision.mask]
    if masks and row["label"] == "tampered":
        made["corrected_mask"] = masks[-1]
    return made


def agreement(folder: Path) -> dict[str, Any]:
    """How far reviewers agree, over the pictures that at least two of them judged.

    `kappa` is Cohen's for each pair of reviewers (1 full agreement, 0 what chance gives, None where it is not defined).
    """
    decisions = read_decisions(folder)
    reviewers = sorted({name for of_picture in decisions.values() for name in of_picture})
    pairs = []
    for first, second in itertools.combinations(reviewers, 2):
        both = [
            (of_picture[first].decision, of_picture[second].decision)
            for of_picture in decisions.values()
            if first in of_picture and second in of_picture
        ]
        if both:
            pairs.append({"reviewers": [first, second], "pictures": len(both), **_kappa(both)})
    counts = Counter(outcome(of_picture.values()) for of_picture in decisions.values())
    return {
        "reviewers": reviewers,
        "pictures": len(decisions),
        "outcomes": dict(sorted(counts.items())),
        "pairs": pairs,
    }


def _kappa(both: list[tuple[str, str]]) -> dict[str, float | None]:
    same = sum(a == b for a, b in both) / len(both)
    chance = sum(
        sum(a == decision for a, _ in both) * sum(b == decision for _, b in both) for decision in DECISIONS
    ) / len(both) ** 2  # fmt: skip
    return {
        "same": round(same, 4),
        "kappa": None if chance == 1 else round((same - chance) / (1 - chance), 4),
    }
