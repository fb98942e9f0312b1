"""GenImage: GENERATOR/[inner folder of the archive]/{train,val}/{ai,nature}; folder names vary between mirrors.

Generated pictures are PNG of one size, real ones are ImageNet's JPEG: equalise before anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras

CLASSES = {"ai": Label.FULL_SYNTHETIC, "nature": Label.REAL}
SPLITS = ("train", "val", "test")


def read(source: Source) -> Iterator[Sample]:
    patterns = [f"{'*/' * depth}{name}" for depth in range(5) for name in CLASSES]
    for place in source.places(*patterns):
        parts = (source.root.name, *place.relative_to(source.root).parts[:-1])
        split = next((part for part in reversed(parts) if part in SPLITS), "")
        if not source.takes(split):
            continue
        generator = next((part for part in parts[1:] if part not in SPLITS), _outer(source.root))
        label = CLASSES[place.name]
        real = label is Label.REAL
        for path in source.pictures(place):
            yield Sample(
                path, label, None, "ImageNet" if real else "GenImage", "" if real else generator,
                extra=extras(split, subset=generator),
            )  # fmt: skip


def _outer(root: Path) -> str:
    return root.parent.name if root.name in SPLITS else root.name


SPECS = (
    ReaderSpec(
        name="genimage",
        title="GenImage",
        read=read,
        licence="CC BY-NC-SA, from memory; check",
        size="eight generators; more than a million pictures, from memory",
        classes="real, full_synthetic",
        get="GenImage-Dataset/GenImage; copies on the hub (jzousz/GenImage, ENSTA-U2IS/GenImage)",
        folders=tuple((f"{'*/' * depth}ai", f"{'*/' * depth}nature") for depth in range(4)),
    ),
)
