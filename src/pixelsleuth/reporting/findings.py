"""What the file says by itself, for people: the entries of `Verdict.evidence` that have a strength."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixelsleuth.reporting import drawings, words
from pixelsleuth.reporting.ingredients import tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixelsleuth.core.examining import Illustration
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.reporting.drawings import Sketches

STRENGTHS = {"declares": "declared", "shows": "shown", "hints": "hint"}
"""The strengths of a finding, strongest statements first, and the word for each."""
SELDOM = 0.01
"""Share of authentic pictures up to which a shown region contradicts a conclusive *real*: the goal of such findings."""
MOST_LINES = 4
"""Findings of a picture that the terminal shows."""
MOST_SHOWN = 30
"""Findings of a picture that the report shows."""
_SIGNED = {
    "trusted": "Content Credentials: signed by {signer}, known to the C2PA trust list",
    "trusted_by_old_list": "Content Credentials: signed by {signer}, known to the interim trust list",
    "not_recognised": "Content Credentials: signed in the name of {signer}, whom no trust list here knows",
}
"""What the terminal says of a signature that holds, by its state."""
ALONE = "Metadata prove nothing alone: anybody can write and remove them."
CLOSED = "SynthID and other closed watermarks cannot be checked here."
NOTHING = "Nothing about how it was made. That means nothing: most platforms remove metadata."


def findings(verdict: Verdict) -> list[dict[str, Any]]:
    """The entries that the file itself makes, not the model: declared and shown ones before hints."""
    return [entry for entry, _ in _illustrated(verdict)]


def _illustrated(verdict: Verdict) -> list[tuple[dict[str, Any], Sequence[Illustration]]]:
    """`findings`, each with its pictures."""
    entries = [
        (entry, verdict.illustrations.get(index, ()))
        for index, entry in enumerate(verdict.evidence)
        if is_finding(entry)
    ]
    return sorted(entries, key=lambda pair: pair[0]["strength"] == "hints")


def is_finding(entry: dict[str, Any]) -> bool:
    """Whether an entry of `evidence` comes from the file; the model's own claims have no strength."""
    strength = entry.get("strength")
    return isinstance(strength, str) and strength in STRENGTHS and bool(entry.get("statement"))


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
    if state == "real" and "edited_by_ai" in declaring:
        return (
            f"File and model contradict each other: {declaring['edited_by_ai']} that it was edited by AI, "
            "the model finds no sign of that."
        )
    if state == "full_synthetic" and "captured" in declaring and "generated" not in declaring:
        return (
            f"File and model contradict each other: {declaring['captured']} that it was captured, "
            "the model calls it wholly generated."
        )
    if state == "real" and any(_singles_out(entry) for entry in findings(verdict)):
        return (
            "File and model contradict each other: a measurement singles out a part of the picture, "
            "the model finds no sign of tampering."
        )
    return ""


def _singles_out(entry: dict[str, Any]) -> bool:
    """Whether an entry is a measurement that shows a region and hardly ever speaks on authentic pictures."""
    rate = entry.get("false_alarms")
    seldom = isinstance(rate, int | float) and rate <= SELDOM
    return entry["strength"] == "shows" and seldom and drawings.box_of(entry.get("region")) is not None


def _subject(entry: dict[str, Any]) -> str:
    if entry.get("kind") != "c2pa":
        return "the file declares"
    unknown = _detail(entry).get("state") == "not_recognised"
    return f"a signature{' of an unknown signer' if unknown else ''} in the file declares"


def lines(verdict: Verdict) -> list[str]:
    """A line for each strong finding, to stand behind the word "File", and the number of those left out."""
    entries = strong(verdict)
    shown = [words.printable(_short(entry)) for entry in entries[:MOST_LINES]]
    if len(entries) > MOST_LINES:
        shown.append(f"and {words.count(len(entries) - MOST_LINES, 'finding')} more")
    return shown


def _short(entry: dict[str, Any]) -> str:
    """The statement as a line of the terminal: who signed, or the first sentence; the report has the rest."""
    statement, detail = str(entry["statement"]), _detail(entry)
    signed = _SIGNED.get(str(detail.get("state"))) if entry.get("kind") == "c2pa" else None
    if signed is not None:
        signer = str(detail.get("signer") or detail.get("certificate") or "an unnamed signer")
        declared = statement.partition("The signer declares")[2].partition(". ")[0].removesuffix(".")
        return f"{signed.format(signer=signer)}{f'; declares{declared}' if declared else ''}."
    if entry["strength"] == "shows":
        return statement.partition(". ")[0].removesuffix(".") + "."
    return statement.removeprefix("The file ")


def caveat(verdict: Verdict) -> str:
    """The sentence on metadata where a strong finding is made of them; else ""."""
    return ALONE if any(entry.get("kind") == "metadata" for entry in strong(verdict)) else ""


def values(verdict: Verdict, *, number: int = 1, side: int = drawings.SIDE) -> dict[str, Any] | None:
    """What the card "What the file says" prints, not yet escaped; None where nobody looked at the file.

    `number` is the card's own in its page, `side` the longer side of the drawings in pixels.
    """
    entries = _illustrated(verdict)
    if not entries and not verdict.examined:
        return None
    more = len(entries) - MOST_SHOWN
    metadata = not entries or any(entry.get("kind") == "metadata" for entry, _ in entries)
    sketches = drawings.Sketches(verdict, number, side)
    return {
        "findings": [_values(entry, pictures, sketches) for entry, pictures in entries[:MOST_SHOWN]],
        "more": f"and {words.count(more, 'finding')} more" if more > 0 else "",
        "notes": [*([] if entries else [NOTHING]), *([ALONE] if metadata else []), CLOSED],
    }


def _values(entry: dict[str, Any], pictures: Sequence[Illustration], sketches: Sketches) -> dict[str, Any]:
    detail, rate, region = _detail(entry), entry.get("false_alarms"), drawings.box_of(entry.get("region"))
    prompt, place = (words.printable(detail.get(key) or "") for key in ("prompt", "place"))
    facts = [*([f"Prompt: {prompt}"] if prompt else []), *([f"in {place}"] if place else [])]
    if region is not None and "boxes" not in detail:  # a statement with several boxes names them itself
        facts.append(f"x {region[0]} to {region[2]}, y {region[1]} to {region[3]}")
    if isinstance(rate, int | float):
        facts.append(f"speaks on {words.percent(rate)} of authentic pictures")
    statement = words.printable(entry["statement"])
    return {
        "strength": entry["strength"],
        "name": "" if statement.startswith("The file declares") else STRENGTHS[entry["strength"]],
        "statement": statement,
        "facts": " · ".join(facts),
        "drawing": sketches.draw(entry),
        "pictures": sketches.embed(pictures),
        "tree": tree(detail),
    }


def _detail(entry: dict[str, Any]) -> dict[str, Any]:
    detail = entry.get("detail")
    return detail if isinstance(detail, dict) else {}
