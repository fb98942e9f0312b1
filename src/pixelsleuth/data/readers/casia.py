"""CASIA v1 and v2: files named Au_* (authentic) and Sp_*, Tp_* (tampered), masks STEM_gt.png of namtpham's
repositories.

`_D` in a name is a splice of two pictures, `_S` a copy-move within one. A name also holds the pictures used; the first
of them is the group. White is tampered; the masks of v1 are RGB, RGBA and grey. One file of v2 is skipped, and one of
its masks is called _gt3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.data.sample import Sample
from pixelsleuth.data.source import Source, extras

SKIPPED = {"Tp_D_NRD_S_B_ani20002_nat20042_02437"}
_TAMPERED = re.compile(r"^(?:Tp|Sp)_(?P<kind>[DS])_")
_SOURCE = re.compile(r"(?<![a-z])([a-z]{3})_?(\d{4,5})(?!\d)")


def read(source: Source) -> Iterator[Sample]:
    folders = _mask_folders(source.root)
    source.takes("")
    for path in source.pictures(source.root):
        stem = path.stem
        if "_gt" in stem:
            continue
        used = [f"{kind}{number}" for kind, number in _SOURCE.findall(stem)]
        tampered = _TAMPERED.match(stem)
        if stem in SKIPPED:
            source.leave_out("picture on the list of those to skip", path)
        elif stem.startswith("Au_"):
            yield Sample(
                path, Label.REAL, None, "CASIA", group=used[0] if used else "", extra=extras(id=stem)
            )
        elif tampered:
            tamper = "splice" if tampered["kind"] == "D" else "copy-move"
            extra = extras(id=stem, sources=used)
            group = used[0] if used else ""
            yield Sample(path, Label.TAMPERED, _mask(folders, stem), "CASIA", "", tamper, group, extra=extra)


def _mask(folders: list[Path], stem: str) -> Path | None:
    names = (f"{stem}_gt.png", f"{stem}_gt3.png")
    return next((folder / name for name in names for folder in folders if (folder / name).is_file()), None)


def _mask_folders(root: Path) -> list[Path]:
    """The folders that hold masks; they lie beside the set under names that vary."""
    folders = [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]
    return [folder for folder in folders if next(folder.glob("*_gt*.png"), None) is not None]


SPECS = (
    ReaderSpec(
        name="casia_v1",
        title="CASIA v1",
        read=read,
        licence="research use",
        size="800 authentic, 921 tampered (920 masks)",
        classes="real, tampered",
        get="the set from CASIA or a mirror; masks from namtpham/casia1groundtruth, put beside it",
        folders=(
            *((pattern,) for pattern in ("Sp_[DS]_*", "*/Sp_[DS]_*", "*/*/Sp_[DS]_*", "*/*/*/Sp_[DS]_*")),
            *((f"{'*/' * depth}Au_???_????.*",) for depth in range(3)),
        ),
        expects={"": 1_721},
        masked=True,
    ),
    ReaderSpec(
        name="casia_v2",
        title="CASIA v2",
        read=read,
        licence="research use",
        size="7,491 authentic, 5,123 tampered",
        classes="real, tampered",
        get="the set from CASIA or a mirror; masks from namtpham/casia2groundtruth, put beside it",
        folders=(
            *((f"{'*/' * depth}Tp_[DS]_*",) for depth in range(3)),
            *((f"{'*/' * depth}Au_???_?????.*",) for depth in range(3)),
        ),
        expects={"": 12_614},
        masked=True,
    ),
)
