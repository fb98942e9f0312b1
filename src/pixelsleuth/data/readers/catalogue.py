"""The readers: what each set is, under which licence, how large, and how to get it; two files, one list.

Layouts are tried in this order. "not stated" stands where the publisher says nothing; a choice that the public record
leaves open is a setting with its default.
"""

from __future__ import annotations

from pixelsleuth.data.readers.catalogue_classic import CLASSIC
from pixelsleuth.data.readers.catalogue_generated import GENERATED
from pixelsleuth.data.readers.source import ReaderSpec, Setting

MARKS = Setting(
    "white",
    "what marks a forgery in the masks (alpha: transparent pixels; nonzero: all but level 0, as class ids)",
    ("white", "black", "alpha", "opaque", "red", "green", "nonzero"),
)

PLAIN = (
    ReaderSpec(
        name="folder",
        title="Plain folder",
        reader="folder:read",
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="sort pictures into real/ and fake/ (or full_synthetic/, tampered/), masks into masks/",
        folders=(
            *((one, other) for one in ("real", "*/real") for other in ("fake", "*/fake")),
            *((one,) for one in ("full_synthetic", "tampered", "*/full_synthetic", "*/tampered")),
        ),
        settings={
            "fake": Setting("full_synthetic", "what the folder fake/ holds", ("full_synthetic", "tampered")),
            "marks": MARKS,
        },
    ),
    ReaderSpec(
        name="manifest",
        title="Manifest: CSV, JSON lines or Parquet",
        reader="manifest:read",
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="write a table with the columns path and label; mask, source, generator, tamper, group, description, split",
        columns=frozenset({"path", "label"}),
        settings={
            "root": Setting(
                "", "the folder that paths are relative to and may not leave (`/`: any); that of the manifest"
            ),
            "marks": MARKS,
        },
    ),
    ReaderSpec(
        name="shards",
        title="Parquet shards with the pictures inside",
        reader="manifest:read",
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="write shards with the columns image (bytes) and label (names), as `datasets` does",
        columns=frozenset({"image", "label"}),
        settings={
            "marks": MARKS,
        },
    ),
)

SPECS: tuple[ReaderSpec, ...] = (*GENERATED, *CLASSIC, *PLAIN)
