"""`Sample`, one labelled picture of a data set, and the manifest reader.

A manifest is a CSV file with at least the columns `path` and `label`; `mask`, `source`, `generator`, `tamper`,
`group` and `description` are used when present. Paths are relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pixelsleuth.core.errors import UsageError
from pixelsleuth.core.formats import SUFFIXES
from pixelsleuth.core.verdict import Label

LABELS = (Label.REAL, Label.FULL_SYNTHETIC, Label.TAMPERED)
"""Class order of every head in this project: index 0 real, 1 full synthetic, 2 tampered."""


@dataclass(frozen=True)
class Sample:
    """One labelled picture. `group` names the scene, product or prompt that several files share."""

    path: Path
    label: Label
    mask: Path | None = None
    source: str = ""
    generator: str = ""
    tamper: str = ""
    group: str = ""
    description: str = ""

    @property
    def unit(self) -> str:
        """What must never be split: the group where there is one, else the file itself."""
        return self.group or self.path.as_posix()


def read_manifest(path: Path, *, split: str | None = None) -> list[Sample]:
    """Samples of a CSV manifest, optionally of one `split` only.

    Raises:
        UsageError: the file is missing, a required column is missing, or a label is unknown.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file: name a manifest (CSV with the columns path and label).")
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if rows and not {"path", "label"} <= rows[0].keys():
        raise UsageError(f"{path} lacks the column path or label: a manifest needs both.")
    return [_sample(row, path) for row in rows if split is None or row.get("split") == split]


def _sample(row: dict[str, str], manifest: Path) -> Sample:
    try:
        label = Label(row["label"])
    except ValueError:
        names = ", ".join(LABELS)
        raise UsageError(f"{manifest}: unknown label {row['label']!r}; use one of {names}.") from None
    mask = row.get("mask")
    extra = {key: row.get(key) or "" for key in ("source", "generator", "tamper", "group", "description")}
    return Sample(manifest.parent / row["path"], label, manifest.parent / mask if mask else None, **extra)


def read_folder(folder: Path, *, split: str | None = None) -> list[Sample]:
    """Samples of a folder with one sub-folder a class (`fake` counts as full synthetic), or with such folders in
    `train`, `validation` or `test`; `masks/{name}_mask.png` beside the classes is found.
    A manifest in it goes first."""
    if (folder / "manifest.csv").is_file():
        return read_manifest(folder / "manifest.csv", split=split)
    names = {**{str(label): label for label in LABELS}, "fake": Label.FULL_SYNTHETIC}
    roots = [folder] if split is None else []
    roots += [
        one for one in sorted(folder.iterdir()) if one.is_dir() and (split is None or one.name == split)
    ]
    found = []
    for root in roots:
        for name, label in names.items():
            for file in sorted((root / name).rglob("*")) if (root / name).is_dir() else []:
                if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                    mask = root / "masks" / f"{file.stem}_mask.png"
                    found.append(Sample(file, label, mask if mask.is_file() else None))
    return found


def hold_out(
    samples: Iterable[Sample], *, share: float = 0.12, salt: str = "pixelsleuth"
) -> tuple[list[Sample], list[Sample]]:
    """Split into (training, validation) by group: a stable hash of the group decides, so no group is ever split.

    >>> a, b = hold_out([Sample(Path(f"{i}.png"), Label.REAL, group=str(i % 7)) for i in range(70)], share=0.3)
    >>> {s.group for s in a} & {s.group for s in b}
    set()
    """
    training: list[Sample] = []
    validation: list[Sample] = []
    for sample in samples:
        digest = hashlib.sha256(f"{salt}/{sample.unit}".encode()).digest()
        (validation if int.from_bytes(digest[:8], "big") < share * 2**64 else training).append(sample)
    return training, validation


def without_groups_of(samples: Iterable[Sample], others: Iterable[Sample]) -> list[Sample]:
    """`samples` less every one whose group also occurs among `others`: training never sees evaluation groups."""
    taken = {sample.group for sample in others if sample.group}
    return [sample for sample in samples if sample.group not in taken]
