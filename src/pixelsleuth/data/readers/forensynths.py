"""ForenSynths ([SPLIT/]GENERATOR/[CLASS/]{0_real,1_fake}) and Chameleon ([SPLIT/]{0_real,1_fake}).

Labels go by the folder's name, not by its place in a listing: loaders that assert the order of `os.listdir` fail on
some disks. Chameleon's layout is that of AIDE's code; it is not verified on its files.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras

CLASSES = {"0_real": Label.REAL, "1_fake": Label.FULL_SYNTHETIC}
SPLITS = ("train", "val", "test", "progan_train", "progan_val", "CNN_synth_testset")


def read(source: Source) -> Iterator[Sample]:
    """ForenSynths."""
    yield from _read(source, "ForenSynths")


def read_chameleon(source: Source) -> Iterator[Sample]:
    """Chameleon."""
    yield from _read(source, "Chameleon")


def _read(source: Source, name: str) -> Iterator[Sample]:
    for place in source.places(*(f"{'*/' * depth}{folder}" for depth in range(4) for folder in CLASSES)):
        parts = place.relative_to(source.root).parts[:-1]
        split = parts[0] if parts and parts[0] in SPLITS else ""
        if not source.takes(split):
            continue
        generator, *category = (parts[1:] if split else parts) or ("",)
        label = CLASSES[place.name]
        made = generator if label is not Label.REAL else ""
        for path in source.pictures(place):
            extra = extras(split, category="/".join(category), subset=generator)
            yield Sample(path, label, None, f"{name} {generator}".strip(), made, extra=extra)


SPECS = (
    ReaderSpec(
        name="chameleon",
        title="Chameleon",
        read=read_chameleon,
        licence="academic use, by e-mail; test only",
        size="not stated here",
        classes="real, full_synthetic",
        get="ask the authors of AIDE",
        folders=(("0_real", "1_fake"), ("test/0_real", "test/1_fake"), ("val/0_real", "val/1_fake")),
    ),
    ReaderSpec(
        name="forensynths",
        title="ForenSynths (CNNDetection)",
        read=read,
        licence="CC BY-NC-SA, from memory; check",
        size="13 test sets; training part about 720,000, from memory",
        classes="real, full_synthetic",
        get="hub sywang/CNNDetection",
        folders=tuple((f"{'*/' * depth}0_real",) for depth in range(1, 4)),
    ),
)
