"""A recipe of stages (`kind: stages`): each a module with arguments and the file that it makes.

A stage whose file exists is skipped, so a rerun goes on where the last one stopped. `{name}` in arguments stands for a
setting of the recipe, which `name=value` on the command line replaces.

Run: `pixelsleuth train recipes/compact.yaml data=MANIFEST.csv out=runs/compact`
"""

from __future__ import annotations

import shlex
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelsleuth.core.names import suggestion
from pixelsleuth.errors import StageError, UsageError

OWN = ("kind", "stages", "leaves")
"""Keys of a recipe that are no settings of its stages."""


@dataclass(frozen=True)
class Stage:
    """One step: `python -m module arguments`, done when the file `makes` exists."""

    module: str
    arguments: list[str]
    makes: Path

    @property
    def title(self) -> str:
        """Module, and the word that says what of it."""
        word = self.arguments[0] if self.arguments and not self.arguments[0].startswith("-") else ""
        return f"{self.module} {word}".rstrip()


def run(content: Mapping[str, Any], *, resume: bool = True) -> Path:
    """Run what is not done yet, in order; the folder that `leaves` names. Stages always go on, `resume` or not.

    Raises:
        UsageError: the recipe is wrong. StageError: a stage failed.
    """
    stages = stages_of(content)
    for number, stage in enumerate(stages, 1):
        title = f"[{number}/{len(stages)}] {stage.title}"
        if stage.makes.exists():
            print(f"{title}: done before", file=sys.stderr, flush=True)
            continue
        print(title, file=sys.stderr, flush=True)
        status = subprocess.call([sys.executable, "-m", stage.module, *stage.arguments])
        if status:
            raise StageError(
                f"Stage {number} ({stage.title}) ended with status {status}: correct what it says above and call "
                "the same command again; the stages before it are kept."
            )
        if not stage.makes.exists() and stage.makes.name == "finished":
            stage.makes.touch()
    return _filled(content, content["leaves"])


def plan(content: Mapping[str, Any]) -> str:
    """The stages, done or to do. Raises UsageError."""
    rows = [f"{'done ' if one.makes.exists() else 'to do'}  {one.title}" for one in stages_of(content)]
    return "\n".join(rows)


def stages_of(content: Mapping[str, Any]) -> list[Stage]:
    """The stages of a recipe with its settings filled in.

    Raises:
        UsageError: a setting that no stage uses, or a stage without module, arguments and makes.
    """
    rows: Sequence[Any] = content.get("stages") or []
    used: set[str] = set()
    for row in rows:
        if not isinstance(row, Mapping) or not {"module", "arguments", "makes"} <= row.keys():
            raise UsageError(f"Every stage of a recipe needs module, arguments and makes, not {row!r}.")
        used |= _names(row["arguments"]) | _names(row["makes"])
    used |= _names(content.get("leaves"))
    settings = [key for key in content if key not in OWN]
    for key in settings:
        if key not in used:
            raise UsageError(f"There is no setting {key}{suggestion(key, sorted(used))}")
    lacking = sorted(key for key in used if content.get(key) in (None, ""))
    if lacking:
        raise UsageError(f"The recipe names no {lacking[0]}: add {lacking[0]}=... to the command.")
    return [
        Stage(
            row["module"],
            [filled for word in shlex.split(row["arguments"]) for filled in _words(word, content)],
            _filled(content, row["makes"]),
        )
        for row in rows
    ]


def _words(word: str, content: Mapping[str, Any]) -> list[str]:
    """A word of the arguments filled in; a setting that is a list and stands alone gives a word each."""
    value = content.get(word[1:-1]) if word.startswith("{") and word.endswith("}") else None
    return [str(part) for part in value] if isinstance(value, list) else [word.format(**content)]


def _filled(content: Mapping[str, Any], text: str) -> Path:
    return Path(text.format(**content))


def _names(text: Any) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(str(text or "")) if name}
