"""What the file of a data set in `readers/` holds: `SPECS`, one `ReaderSpec` for each set that it reads.

Also the settings that several readers share, and what they mean. "not stated" stands where a publisher says nothing; a
choice that the public record leaves open is a setting with its default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source


@dataclass(frozen=True)
class Setting:
    """A choice that the reference leaves open: its default, what it means, its possible values (empty: any text)."""

    default: str
    meaning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReaderSpec:
    """What is known of a data set, and the function `read` that yields its samples.

    A folder has this layout where every pattern of one of `folders` matches something in it; a table where it has all
    `columns`. `expects` maps a split ("" is the whole set) to the number of pictures that the publisher states.
    `masked` promises a mask with every tampered picture.
    """

    name: str
    title: str
    read: Callable[[Source], Iterator[Sample]]
    licence: str
    size: str
    classes: str
    get: str
    folders: tuple[tuple[str, ...], ...] = ()
    columns: frozenset[str] = frozenset()
    hubs: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    expects: Mapping[str, int] = field(default_factory=dict)
    masked: bool = False


MARKS = Setting(
    "white",
    "what marks a forgery in the masks (alpha: transparent pixels; nonzero: all but level 0, as class ids)",
    ("white", "black", "alpha", "opaque", "red", "green", "nonzero"),
)
LOCAL = {
    "synthetic_mask": Setting(
        "none",
        "mask of wholly generated pictures: none, zeros (no local edit) or ones (all edited)",
        ("none", "zeros", "ones"),
    ),
    "missing_mask": Setting(
        "keep", "a tampered picture whose mask is missing is kept without one, or dropped", ("keep", "drop")
    ),
}
"""Settings of sets with three classes; `local_mask` follows them."""
NO_MASK = "tampered picture without a mask"


def local_mask(
    label: Label, stored: Path | bytes | None, source: Source
) -> tuple[bool, Path | bytes | Mask | None]:
    """(keep the sample, its mask) under the settings `synthetic_mask` and `missing_mask`.

    No stored mask means "no local edit" for real and for wholly generated pictures, never "file missing".
    """
    if label is Label.REAL:
        return True, None
    if label is Label.FULL_SYNTHETIC:
        marks = {"zeros": Marks.NONE, "ones": Marks.ALL}.get(source.settings["synthetic_mask"])
        return True, None if marks is None else Mask(marks=marks)
    if stored is None and source.settings.get("missing_mask") == "drop":
        source.leave_out(NO_MASK)
        return False, None
    return True, stored
