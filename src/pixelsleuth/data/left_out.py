"""`LeftOut` counts what of a data set is not used, by reason; every command that reads data reports it in these words.

A reader counts what it does not yield; a command adds the pictures that it cannot decode. The tally travels with the
samples (`Data.left_out`, `Listing.left_out`), so that no row is lost silently.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pixelsleuth.errors import PictureError, PictureNotFound

OUTSIDE = "path outside the folder of the set"
ABSENT = "picture file that is not there"
UNREADABLE = "picture that cannot be read"
BAD_MASK = "picture whose mask cannot be read"
NO_PICTURE = "row without a picture"
EMPTY_MASK = "tampered picture whose mask marks nothing"
LINK = "link to a folder, which is not followed"
DOUBLE = "photograph that is there twice"
WAYS_OUT = {
    OUTSIDE: "--allow-outside takes them",
    LINK: "--allow-outside follows them",
    EMPTY_MASK: "left out of localization alone",
}
"""What to do about a reason, where an option of the command helps."""
EXAMPLES = 5
"""Names that are kept of each reason; all are counted."""
LONGEST = 200
"""Characters of a name that are kept."""


class LeftOut(Counter[str]):
    """Reasons with their number; `names` holds the first names of each reason.

    >>> tally = LeftOut()
    >>> tally.add(ABSENT, "a.png")
    >>> tally.add(ABSENT, "b.png")
    >>> tally.sentence()
    'Left out: 2 x picture file that is not there, such as a.png.'
    """

    def __init__(self, counts: Iterable[tuple[str, int]] = ()) -> None:
        super().__init__(dict(counts))
        self.names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str = "", count: int = 1) -> None:
        """Count what is not used; `reason` is one of a few sentences."""
        self[reason] += count
        kept = self.names.setdefault(reason, [])
        if name and len(kept) < EXAMPLES:
            kept.append(name if len(name) <= LONGEST else f"{name[:LONGEST]}...")

    def join(self, other: LeftOut) -> None:
        """Take over what `other` counted."""
        for reason, count in other.items():
            self[reason] += count
            kept = self.names.setdefault(reason, [])
            kept += other.names.get(reason, [])[: EXAMPLES - len(kept)]

    def copied(self) -> LeftOut:
        """A copy that counts on by itself."""
        copy = LeftOut()
        copy.join(self)
        return copy

    def to_dict(self) -> dict[str, Any]:
        """`{"count", "reasons": {reason: number}, "examples": {reason: [name]}}`, ready for JSON."""
        from pixelsleuth.core.verdict import valid_unicode

        reasons = dict(sorted(self.items()))
        examples = {
            key: [valid_unicode(name) for name in self.names[key]] for key in reasons if self.names.get(key)
        }
        return {"count": self.total(), "reasons": reasons, "examples": examples}

    def sentence(self, what: str = "Left out") -> str:
        """Everything in one sentence; empty where nothing was left out."""
        return sentence_of(self.to_dict(), what)

    def tell(self, what: str = "Left out") -> None:
        """Print the sentence on standard error; nothing where nothing was left out."""
        if self:
            print(self.sentence(what), file=sys.stderr, flush=True)


def sentence_of(record: dict[str, Any], what: str = "Left out") -> str:
    """The sentence of a tally as JSON keeps it (`LeftOut.to_dict`); empty where nothing was left out.

    Names come out of untrusted files, so what does not print (terminal escapes) is replaced.
    """
    parts = []
    for reason, count in record["reasons"].items():
        text = f"{count:,} x {reason}"
        names = record["examples"].get(reason)
        text += f", such as {names[0]}" if names else ""
        advice = WAYS_OUT.get(reason)
        parts.append(text + (f" ({advice})" if advice else ""))
    text = f"{what}: {'; '.join(parts)}." if parts else ""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def reason_of(error: PictureError) -> str:
    """The reason under which a picture that raised `error` is counted."""
    return ABSENT if isinstance(error, PictureNotFound) else UNREADABLE
