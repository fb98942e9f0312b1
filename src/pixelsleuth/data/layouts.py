"""The readers, and which of them fits: by name, by the layout of a folder, by the columns of a table, by hub id.

Every file in `readers/` holds `SPECS`: what is known of its data sets. To add a data set, add a file there. Detection
looks at names of files and columns, never into a file.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.settings import choose
from pixelsleuth.data.reader import ReaderSpec
from pixelsleuth.errors import UsageError

if TYPE_CHECKING:
    from pixelsleuth.data.tables import Table

FIRST = (
    "sid_set", "so_fake_set", "fakeclue", "loki", "dd_vqa", "faceforensics", "dmimage", "magicbrush", "genimage",
    "forensynths", "autosplice", "cocoglide", "tgif", "opensdi", "openforensics",
    "casia", "columbia", "coverage", "nist16", "imd2020", "dso1",
)  # fmt: skip
LAST = ("folder", "manifest")
"""Files of `readers/` in the order in which their layouts are tried; files named in neither come between the two."""

DEEPEST = 4
MAX_FILES = 300
MAX_NAMES = 100_000
"""How deep a layout is read, how many files of a kind in each folder, and how many names in all."""
MAX_DEPTH = 3
"""How many folders with nothing but one folder in them are entered: archives unpack into one of their own name."""


@cache
def specs() -> tuple[ReaderSpec, ...]:
    """All readers, in the order in which layouts are tried."""
    folder = Path(__file__).with_name("readers")
    there = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    ordered = (*FIRST, *sorted(there - {*FIRST, *LAST}), *LAST)
    modules = (import_module(f"pixelsleuth.data.readers.{name}") for name in ordered)
    return tuple(spec for module in modules for spec in module.SPECS)


def names() -> list[str]:
    """The names of all readers, in that order."""
    return [spec.name for spec in specs()]


def get(name: str) -> ReaderSpec:
    """The reader called `name`. Raises UsageError with a suggestion."""
    for spec in specs():
        if spec.name == name:
            return spec
    raise UsageError(f"There is no reader {name!r}{suggestion(name, names())}")


def of_folder(folder: Path) -> tuple[ReaderSpec, Path] | None:
    """(the reader whose layout fits, the folder that has it): `folder`, or the only folder in it, and so on."""
    for root in _nested(folder):
        names = _outline(root)
        for spec in specs():
            if _fits(spec, names):
                return spec, root
    return None


def root_of(spec: ReaderSpec, folder: Path) -> Path:
    """The folder in which the layout of a chosen reader begins: `folder` itself where none fits."""
    return next((root for root in _nested(folder) if _fits(spec, _outline(root))), folder)


def _nested(folder: Path) -> Iterable[Path]:
    yield folder
    for _ in range(MAX_DEPTH):
        inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].is_symlink():
            return
        folder = inside[0]
        yield folder


def _outline(root: Path) -> dict[int, list[str]]:
    """Names under a folder by depth: every folder, and of each folder as many files as its layout needs.

    One pass, so that a set of a million files is recognised about as fast as its folders can be listed.
    """
    names: dict[int, list[str]] = {depth: [] for depth in range(1, DEEPEST + 1)}
    pending = [("", 1)]
    while pending and sum(map(len, names.values())) < MAX_NAMES:
        inside, depth = pending.pop(0)
        files: Counter[str] = Counter()
        try:
            with os.scandir(root / inside) as listing:
                for entry in listing:
                    if entry.name.startswith("."):
                        continue
                    name = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir():
                        names[depth].append(name)
                        if depth < DEEPEST:
                            pending.append((name, depth + 1))
                        continue
                    kind = os.path.splitext(entry.name)[1].lower()
                    files[kind] += 1
                    if files[kind] <= MAX_FILES:
                        names[depth].append(name)
        except OSError:
            continue
    return names


def _fits(spec: ReaderSpec, names: Mapping[int, list[str]]) -> bool:
    return any(all(_has(names, pattern) for pattern in marks) for marks in spec.folders)


def _has(names: Mapping[int, list[str]], pattern: str) -> bool:
    # As in a shell: * is any text within one name, ? one character, [DS] one of these.
    text = (
        re.escape(pattern)
        .replace(r"\*", "[^/]*")
        .replace(r"\?", "[^/]")
        .replace(r"\[", "[")
        .replace(r"\]", "]")
    )
    match = re.compile(text).fullmatch
    return any(match(name) for name in names.get(pattern.count("/") + 1, ()))


def of_table(table: Table | None, name: str) -> ReaderSpec:
    """The reader that knows most of the columns of a table. Raises UsageError where none fits."""
    columns = table.columns if table is not None else frozenset()
    fitting = [spec for spec in specs() if spec.columns and spec.columns <= columns]
    if not fitting:
        shown = ", ".join(sorted(columns)[:20])
        raise UsageError(
            f"{name} lacks the column path or label (it has: {shown}); a manifest needs both, "
            "or name a reader with --reader."
        )
    return max(fitting, key=lambda spec: len(spec.columns))


def of_hub(name: str) -> ReaderSpec | None:
    """The reader of a data set on the hub; None where its id is not in the catalogue."""
    return next((spec for spec in specs() if name.lower() in map(str.lower, spec.hubs)), None)


def settings_of(spec: ReaderSpec, values: Mapping[str, str]) -> dict[str, str]:
    """All settings of a reader: its defaults with `values` put in. Raises UsageError for what it does not know."""
    defaults = {name: setting.default for name, setting in spec.settings.items()}
    allowed = {name: setting.choices for name, setting in spec.settings.items()}
    return choose(f"The reader {spec.name}", values, defaults, allowed)
