"""What a decoding process found out about a file, as the detector takes it (`core.examining`)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pixelsleuth.pictures.images import Picture

if TYPE_CHECKING:
    from pixelsleuth.pictures.formats import Header


@dataclass(frozen=True)
class SentIllustration:
    """A picture of a finding, made by the decoding process."""

    caption: str
    image: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True)
class SentFinding:
    """A finding of the decoding process: `entry` as the record carries it."""

    entry: dict[str, Any]
    pictures: tuple[SentIllustration, ...] = ()

    @property
    def strength(self) -> str:
        return str(self.entry["strength"])

    def to_dict(self) -> dict[str, Any]:
        return self.entry


def findings_in(sent: list[dict[str, Any]] | None) -> tuple[SentFinding, ...] | None:
    """The findings of a message. Raises ValueError, KeyError or TypeError where it holds none."""
    if sent is None:
        return None
    return tuple(
        SentFinding(
            finding["entry"],
            tuple(
                SentIllustration(drawn["caption"], base64.b64decode(drawn["image"]), drawn["media_type"])
                for drawn in finding["pictures"]
            ),
        )
        for finding in sent
    )


@dataclass(frozen=True)
class DecodedPicture(Picture):
    """A picture out of a decoding process; `shown` becomes what its pixels show, which is examined meanwhile."""

    shown: Future[Sequence[SentFinding]] | None = field(default=None, repr=False)


class SentExaminer:
    """An examiner that waits for the findings of the decoding process."""

    def of_file(self, data: memoryview, header: Header) -> Sequence[SentFinding]:
        """Nothing: the decoding process has examined the bytes."""
        del data, header
        return ()

    def of_pixels(self, picture: Picture) -> Sequence[SentFinding]:
        """What the pixels show. Raises what kept the decoding process from examining them."""
        assert isinstance(picture, DecodedPicture)
        return () if picture.shown is None else picture.shown.result()
