"""What reviewers decided, kept as JSON lines that are only ever appended to; the last word of each reviewer counts.

A picture is accepted when more reviewers accept it than reject it, rejected when it is the other way round, and
disputed when they are even. A corrected text or mask is taken from the reviewer who spoke last.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixelsleuth.core.io import failed, write_at
from pixelsleuth.forge.stages import Row, read_rows, write_text

FILE = "review.jsonl"
DECISIONS = ("accept", "reject")
_WRITING = threading.Lock()


@dataclass(frozen=True)
class Decision:
    """One word of one reviewer on one picture. `mask` is a corrected mask's path in the run's folder."""

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
    with _WRITING:  # the page's server answers each request in a thread of its own
        try:
            with path.open("ab", buffering=0) as stream:
                end = stream.seek(0, os.SEEK_END)
                try:
                    write_at(stream.fileno(), line, end)
                    os.fsync(stream.fileno())
                except OSError:
                    stream.truncate(end)
                    raise
        except OSError as error:
            raise failed(path, "file of decisions", error) from error


def read_decisions(folder: Path) -> dict[str, dict[str, Decision]]:
    """The last decision of each reviewer on each picture: {picture: {reviewer: decision}}, latest last."""
    found: dict[str, dict[str, Decision]] = {}
    path = folder / FILE
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            one = Decision(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a line that was cut off
        if one.decision in DECISIONS:
            there = found.setdefault(one.id, {})
            there.pop(one.reviewer, None)
            there[one.reviewer] = one
    return found


def outcome(decisions: Iterable[Decision]) -> str:
    """accepted, rejected or disputed, by the majority of reviewers.

    >>> outcome([Decision("a", "x", "accept"), Decision("a", "y", "reject")])
    'disputed'
    """
    counts = Counter(one.decision for one in decisions)
    balance = counts["accept"] - counts["reject"]
    return "accepted" if balance > 0 else "rejected" if balance < 0 else "disputed"


def apply_decisions(lines: Path, folder: Path) -> Path:
    """Write `reviewed.jsonl`: rejected and disputed pictures left out, corrections put in; unseen ones stay."""
    decisions = read_decisions(folder)
    target = folder / "reviewed.jsonl"
    kept: list[str] = []
    for row in read_rows(lines):
        said = list(decisions.get(row["id"], {}).values())
        if not said or (outcome(said) == "accepted"):
            kept.append(json.dumps(_corrected(row, said), sort_keys=True, ensure_ascii=False))
    write_text(target, "".join(line + "\n" for line in kept))
    return target


def _corrected(row: Row, said: list[Decision]) -> Row:
    if not said:
        return row
    made = {**row, "review": "accepted", "reviewers": sorted(one.reviewer for one in said)}
    accepting = [one for one in said if one.decision == "accept"]
    texts = [one for one in accepting if one.description and one.description != row["description"]]
    if texts:
        made |= {"description": texts[-1].description, "described_by": [f"reviewer {texts[-1].reviewer}"]}
    masks = [one.mask for one in accepting if one.mask]
    if masks and row["label"] == "tampered":
        made["corrected_mask"] = masks[-1]
    return made


def agreement(folder: Path) -> dict[str, Any]:
    """How far reviewers agree, over the pictures that at least two of them judged.

    `kappa` is Cohen's for each pair of reviewers (1 full agreement, 0 what chance gives, None where it is not defined).
    """
    decisions = read_decisions(folder)
    reviewers = sorted({name for said in decisions.values() for name in said})
    pairs = []
    for i, first in enumerate(reviewers):
        for second in reviewers[i + 1 :]:
            both = [(said[first].decision, said[second].decision) for said in decisions.values()
                    if first in said and second in said]  # fmt: skip
            if both:
                pairs.append({"reviewers": [first, second], "pictures": len(both), **_kappa(both)})
    counts = Counter(outcome(said.values()) for said in decisions.values())
    return {
        "reviewers": reviewers,
        "pictures": len(decisions),
        "outcomes": dict(sorted(counts.items())),
        "pairs": pairs,
    }


def _kappa(both: list[tuple[str, str]]) -> dict[str, float | None]:
    same = sum(a == b for a, b in both) / len(both)
    chance = sum(
        sum(a == one for a, _ in both) * sum(b == one for _, b in both) for one in DECISIONS
    ) / len(both) ** 2  # fmt: skip
    return {
        "same": round(same, 4),
        "kappa": None if chance == 1 else round((same - chance) / (1 - chance), 4),
    }
