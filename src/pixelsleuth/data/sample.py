"""`Sample`: one labelled picture of a data set, with its mask, its source and what else the set holds of it.

Every reader (`pixelsleuth.data.readers`) yields samples; training, evaluation and audit read them. A sample holds no
pixels: `open()` decodes the picture, `load()` the picture and its mask.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.mask_levels import LEVEL

if TYPE_CHECKING:
    from pixelsleuth.data.masks import Mask, MaskReading
    from pixelsleuth.pictures.images import Picture

_CLASS_WORD = re.compile(r"\b(real|fake|authentic|synthetic|tampered)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    """One labelled picture.

    `path` is the picture file. Where the set keeps pictures inside shards, `data` is the file's bytes and `path` a name
    (shard and row). `mask` is a file, its bytes, or a `Mask` that says how to read it; None where the set has none.
    `group` names the scene, product or prompt that several files share. `extra` holds what else the layout gives (`id`,
    `split`, `category`, `instruction`, ...).
    """

    path: Path
    label: Label
    mask: Path | bytes | Mask | None = None
    source: str = ""
    generator: str = ""
    tamper: str = ""
    group: str = ""
    description: str = ""
    data: bytes | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def unit(self) -> str:
        """What must never be split: the group where there is one, else the file itself."""
        return self.group or self.path.as_posix()

    @property
    def split(self) -> str:
        """The part of the set that the sample belongs to, as the set names it; empty where it names none."""
        return str(self.extra.get("split") or "")

    def open(self) -> Picture:
        """Decode the picture. Raises PictureError."""
        from pixelsleuth.pictures.images import open_picture

        name = self.path.as_posix()
        return open_picture(self.path if self.data is None else self.data, name=name)

    def load(self, *, mask_level: int = LEVEL) -> tuple[Picture, MaskReading | None]:
        """Decode the picture and its mask, brought to the picture's size and orientation. Raises PictureError.

        Pixels of the mask from the grey level `mask_level` on are marked.
        """
        if self.mask is None:
            return self.open(), None
        from pixelsleuth.data.masks import read_mask
        from pixelsleuth.pictures.files import read_file
        from pixelsleuth.pictures.formats import read_header
        from pixelsleuth.pictures.images import open_picture

        name = self.path.as_posix()
        data = self.data if self.data is not None else bytes(read_file(str(self.path), name))
        orientation = read_header(memoryview(data), name).orientation
        picture = open_picture(data, name=name)
        return picture, read_mask(self.mask, (picture.width, picture.height), orientation, level=mask_level)


def label_named(text: str) -> Label | None:
    """The label that a name stands for in any usual spelling; None where it is none of the three.

    >>> label_named("FULL_SYNTHETIC"), label_named("full synthetic"), label_named("fake")
    (<Label.FULL_SYNTHETIC: 'full_synthetic'>, <Label.FULL_SYNTHETIC: 'full_synthetic'>, None)
    """
    try:
        return Label(text.strip().lower().replace(" ", "_").replace("-", "_"))
    except ValueError:
        return None


def is_fake(answer: str) -> bool | None:
    """The class that an answer in words names, by its first sentence, else its second: True for fake, False for real.

    None where neither names one, or names both. Whole words count, so that "unrealistic" is not "real". The public
    harnesses draw a class at random there, so that the same answers give other scores each time.

    >>> is_fake("The image looks fake. The skin is smooth."), is_fake("This is a real image."), is_fake("Hard to say.")
    (True, False, None)
    """
    sentences = [part for part in re.split(r"[.!?]+", answer) if part.strip()]
    for sentence in sentences[:2]:
        named = {word.lower() not in ("real", "authentic") for word in _CLASS_WORD.findall(sentence)}
        if len(named) == 1:
            return named.pop()
    return None


def hold_out(
    samples: Iterable[Sample], *, share: float = 0.12, salt: str = "pixelsleuth", root: Path | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Split into (training, validation) by group: a hash of the group's name decides, so no group is ever split.

    Of a sample without a group, the path relative to `root` decides, so that the split does not depend on where the set
    lies.

    >>> a, b = hold_out([Sample(Path(f"{i}.png"), Label.REAL, group=str(i % 7)) for i in range(70)], share=0.3)
    >>> {s.group for s in a} & {s.group for s in b}
    set()
    """
    training: list[Sample] = []
    validation: list[Sample] = []
    for sample in samples:
        unit = sample.unit
        if root is not None and not sample.group and sample.path.is_relative_to(root):
            unit = sample.path.relative_to(root).as_posix()
        digest = hashlib.sha256(f"{salt}/{unit}".encode()).digest()
        (validation if int.from_bytes(digest[:8], "big") < share * 2**64 else training).append(sample)
    return training, validation


def without_groups_of(samples: Iterable[Sample], others: Iterable[Sample]) -> list[Sample]:
    """`samples` without those whose group also occurs among `others`, such as the groups of an evaluation."""
    taken = {sample.group for sample in others if sample.group}
    return [sample for sample in samples if sample.group not in taken]


def for_training(samples: Iterable[Sample]) -> list[Sample]:
    """What a training uses where no split is named: all, or of several splits `train`, less the groups of the others.

    >>> rows = [Sample(Path("a"), Label.REAL, extra={"split": part}) for part in ("train", "eval")]
    >>> [sample.split for sample in for_training(rows)], len(for_training(rows[1:]))
    (['train'], 1)
    """
    every = list(samples)
    others = [sample for sample in every if sample.split != "train"]
    if len(others) in (0, len(every)):
        return every
    return without_groups_of([sample for sample in every if sample.split == "train"], others)
