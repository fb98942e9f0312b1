"""Find a reader: by name (with a suggestion), by the layout of a folder, by the columns of a table, by hub id.

Detection looks at names only, and imports no reader.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixelsleuth.core.errors import UsageError
from pixelsleuth.data.readers.catalogue import SPECS
from pixelsleuth.data.readers.source import ReaderSpec

if TYPE_CHECKING:
    from pixelsleuth.data.readers.tables import Table

MAX_DEPTH = 3
"""How many folders that hold nothing but one folder are gone into: archives often unpack into one of their own name."""


def specs() -> list[ReaderSpec]:
    """All readers, in the order in which layouts are tried."""
    return list(SPECS)


def names() -> list[str]:
    return [spec.name for spec in SPECS]


def get(name: str) -> ReaderSpec:
    """The reader called `name`. Raises UsageError with a suggestion."""
    for spec in SPECS:
        if spec.name == name:
            return spec
    raise UsageError(f"There is no reader {name!r}; {_suggest(name, names())}")


def _suggest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    flat = {one.replace("_", ""): one for one in known}
    close = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), flat, n=1)
    return f"did you mean {flat[close[0]]!r}?" if close else f"there are: {', '.join(known) or 'none'}."


def of_folder(folder: Path) -> tuple[ReaderSpec, Path] | None:
    """The reader whose layout this folder (or the only folder in it, and so on) has, and the folder that has it."""
    for root in _nested(folder):
        for spec in SPECS:
            if any(all(_has(root, pattern) for pattern in marks) for marks in spec.folders):
                return spec, root
    return None


def root_of(spec: ReaderSpec, folder: Path) -> Path:
    """Where in `folder` the layout of a forced reader begins; the folder itself where nothing tells."""
    for root in _nested(folder):
        if any(all(_has(root, pattern) for pattern in marks) for marks in spec.folders):
            return root
    return folder


def _nested(folder: Path) -> Iterable[Path]:
    yield folder
    for _ in range(MAX_DEPTH):
        inside = [one for one in folder.iterdir() if not one.name.startswith((".", "__MACOSX"))]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].is_symlink():
            return
        folder = inside[0]
        yield folder


def _has(root: Path, pattern: str) -> bool:
    return next(root.glob(pattern), None) is not None


def of_table(table: Table | None, name: str) -> ReaderSpec:
    """The reader that knows most of the columns of a table. Raises UsageError where none does."""
    columns = table.columns if table is not None else frozenset()
    fitting = [spec for spec in SPECS if spec.columns and spec.columns <= columns]
    if not fitting:
        shown = ", ".join(sorted(columns)[:20])
        raise UsageError(
            f"{name} lacks the column path or label (it has: {shown}); a manifest needs both, "
            "or name a reader with --reader."
        )
    return max(fitting, key=lambda spec: len(spec.columns))


def of_hub(name: str) -> ReaderSpec | None:
    """The reader of a data set on the hub; None where its id is not in the catalogue."""
    return next((spec for spec in SPECS if name.lower() in (one.lower() for one in spec.hubs)), None)


def settings_of(spec: ReaderSpec, given: Mapping[str, str]) -> dict[str, str]:
    """All settings of a reader: those given, the defaults for the rest. Raises UsageError for what it does not know."""
    for key, value in given.items():
        if key not in spec.settings:
            raise UsageError(f"The reader {spec.name} has no setting {key!r}; {_suggest(key, spec.settings)}")
        choices = spec.settings[key].choices
        if choices and value not in choices:
            raise UsageError(
                f"{key} of the reader {spec.name} is one of {', '.join(choices)}, not {value!r}."
            )
    return {key: given.get(key, setting.default) for key, setting in spec.settings.items()}
