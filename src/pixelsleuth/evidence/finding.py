"""`Finding`: one thing that a file says by itself, with how much that is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Strength = Literal["declares", "shows", "hints"]
KINDS = {
    "metadata": "What metadata declare: generated, edited by AI, edited, captured, copied, a camera or a program.",
    "c2pa": "Content Credentials: who signed the file, whether the signature holds, and what the signer declares.",
    "compression": "How a JPEG was last saved: quality, sampling, the program whose tables it has.",
    "double_compression": "A JPEG was saved before, at another quality.",
    "earlier_jpeg": "The pixels of a file that is no JPEG, or a better one, were a JPEG before.",
    "crop": "The picture was cropped after a JPEG save: the grid of its blocks is moved.",
    "grid": "A region whose JPEG grid differs from that of the rest.",
    "missing_grid": "A region without the JPEG grid of the rest.",
    "thumbnail": "The thumbnail inside EXIF shows another picture, or another cut of it.",
    "noise": "A region with more or less noise than the rest explains.",
    "copy_move": "Two parts of the picture that show the same.",
}
"""`Finding.kind` -> what it says."""


@dataclass(frozen=True)
class Illustration:
    """A picture that belongs to a finding: a map, matched places, the thumbnail of a part.

    `caption`: one line of plain text. `image`: the bytes of a JPEG or PNG that PixelSleuth encoded itself, longest
    side at most 320 pixels, never bytes out of the examined file. `media_type`: `image/jpeg` or `image/png`.
    """

    caption: str
    image: bytes
    media_type: str


@dataclass(frozen=True)
class Finding:
    """One entry of a verdict's `evidence`.

    `kind` names the check, `statement` is one sentence. `strength`: the file *declares* it (anybody may have written
    that), a measurement *shows* it, or something only *hints* at it. `false_alarms` is the share of
    authentic pictures on which this finding was measured to speak, None where that was not measured. `region` is a
    half-open box (x0, y0, x1, y1) in pixels of the upright picture. `pictures` are for reports; the record leaves
    them out.
    """

    kind: str
    statement: str
    strength: Strength
    false_alarms: float | None = None
    region: tuple[int, int, int, int] | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Illustration, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON carries it (`docs/reference/verdict.schema.json`)."""
        entry: dict[str, Any] = {
            "kind": self.kind,
            "statement": self.statement,
            "strength": self.strength,
            "false_alarms": self.false_alarms,
            "measured": True,
        }
        if self.region is not None:
            entry["region"] = list(self.region)
        if self.detail:
            entry["detail"] = self.detail
        return {key: _clean(value) for key, value in entry.items()}


def _clean(value: Any) -> Any:
    """The value with half surrogates replaced: JSON inside a file can hold them, UTF-8 cannot."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value
