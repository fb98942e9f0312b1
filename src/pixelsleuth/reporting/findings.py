"""What the file says by itself, for people: the entries of `Verdict.evidence` that have a strength."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixelsleuth.reporting import words

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict

STRENGTHS = {"declares": "declared", "shows": "shown", "hints": "hint"}
"""The strengths of a finding, strongest statements first, and the word for each."""
MOST_LINES = 4
"""Findings of a picture that the terminal shows."""
MOST_SHOWN = 30
"""Findings of a picture that the report shows."""
ALONE = "Metadata prove nothing alone: anybody can write and remove them."
CLOSED = "SynthID and other closed watermarks cannot be checked here."
NOTHING = "Nothing about how it was made. That means nothing: most platforms remove metadata."


def findings(verdict: Verdict) -> list[dict[str, Any]]:
    """The entries that the file itself makes, not the model: declared and shown ones before hints."""
    entries = [entry for entry in verdict.evidence if is_finding(entry)]
    return sorted(entries, key=lambda entry: entry["strength"] == "hints")


def is_finding(entry: dict[str, Any]) -> bool:
    """Whether an entry of `evidence` comes from the file; the model's own claims have no strength."""
    return entry.get("strength") in STRENGTHS and bool(entry.get("statement"))


def strong(verdict: Verdict) -> list[dict[str, Any]]:
    """The findings that are more than hints."""
    return [entry for entry in findings(verdict) if entry["strength"] != "hints"]


def contradiction(verdict: Verdict) -> str:
    """A sentence where what the file declares and a conclusive verdict exclude each other; "" where they do not."""
    declaring = {str(_detail(entry).get("declares")): _subject(entry) for entry in reversed(strong(verdict))}
    state = words.state_of(verdict)
    if state == "real" and "generated" in declaring and "captured" not in declaring:
        return (
            f"File and model contradict each other: {declaring['generated']} that it was wholly generated, "
            "the model finds no sign of that."
        )
    if state == "full_synthetic" and "captured" in declaring and "generated" not in declaring:
        return (
            f"File and model contradict each other: {declaring['captured']} that it was captured, "
            "the model calls it wholly generated."
        )
    return ""


def _subject(entry: dict[str, Any]) -> str:
    return "a signature in the file declares" if entry.get("kind") == "c2pa" else "the file declares"


def lines(verdict: Verdict) -> list[str]:
    """A line for each strong finding, to stand behind the word "File", and the number of those left out."""
    entries = strong(verdict)
    shown = [
        words.printable(str(entry["statement"]).removeprefix("The file ")) for entry in entries[:MOST_LINES]
    ]
    if len(entries) > MOST_LINES:
        shown.append(f"and {words.count(len(entries) - MOST_LINES, 'finding')} more")
    return shown


def caveat(verdict: Verdict) -> str:
    """The sentence on metadata where a strong finding is made of them; else ""."""
    return ALONE if any(entry.get("kind") == "metadata" for entry in strong(verdict)) else ""


def values(verdict: Verdict) -> dict[str, Any] | None:
    """What the card "What the file says" prints, not yet escaped; None where nobody looked at the file."""
    entries = findings(verdict)
    if not entries and not verdict.examined:
        return None
    more = len(entries) - MOST_SHOWN
    metadata = not entries or any(entry.get("kind") == "metadata" for entry in entries)
    return {
        "findings": [_values(entry) for entry in entries[:MOST_SHOWN]],
        "more": f"and {words.count(more, 'finding')} more" if more > 0 else "",
        "notes": [*([] if entries else [NOTHING]), *([ALONE] if metadata else []), CLOSED],
    }


def _values(entry: dict[str, Any]) -> dict[str, str]:
    detail, rate, region = _detail(entry), entry.get("false_alarms"), entry.get("region")
    prompt, place = (words.printable(detail.get(key) or "") for key in ("prompt", "place"))
    facts = [*([f"Prompt: {prompt}"] if prompt else []), *([f"in {place}"] if place else [])]
    if isinstance(region, list | tuple) and len(region) == 4:
        facts.append(f"x {region[0]} to {region[2]}, y {region[1]} to {region[3]}")
    if isinstance(rate, int | float):
        facts.append(f"speaks on {words.percent(rate)} of authentic pictures")
    statement = words.printable(entry["statement"])
    return {
        "strength": entry["strength"],
        "name": "" if statement.startswith("The file declares") else STRENGTHS[entry["strength"]],
        "statement": statement,
        "facts": " · ".join(facts),
    }


def _detail(entry: dict[str, Any]) -> dict[str, Any]:
    detail = entry.get("detail")
    return detail if isinstance(detail, dict) else {}
