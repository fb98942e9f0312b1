"""Carry out a recipe: a YAML list of stages, each a module with arguments and the file that it makes.

A stage whose file exists is skipped, so a rerun goes on where the last one stopped. `{name}` in arguments stands for a
variable of the recipe, which `name=value` on the command line replaces.

Run: `python -m pixelsleuth.training.recipe recipes/compact.yaml [corpus=DIR] [runs=DIR]`
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pixelsleuth.core.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """One step: `python -m module arguments`, done when the file `makes` exists."""

    module: str
    arguments: list[str]
    makes: Path


def read_recipe(path: Path, overrides: list[str]) -> list[Stage]:
    """The stages of a recipe with its variables filled in.

    Raises:
        UsageError: no such file, an unknown variable, or a stage without module, arguments and makes.
    """
    import yaml

    if not path.is_file():
        raise UsageError(f"{path} is not a file: name a recipe, such as recipes/compact.yaml.")
    content = yaml.safe_load(path.read_text())
    variables = dict(content.get("variables") or {})
    for override in overrides:
        name, _, value = override.partition("=")
        if name not in variables or not value:
            close = difflib.get_close_matches(name, variables, n=1)
            hint = f"did you mean {close[0]}=...?" if close else f"the recipe knows {', '.join(variables)}"
            raise UsageError(f"{override}: no such variable; {hint}")
        variables[name] = value
    stages = []
    for row in content.get("stages") or []:
        if not {"module", "arguments", "makes"} <= row.keys():
            raise UsageError(
                f"{path}: every stage needs module, arguments and makes; found {', '.join(row)}."
            )
        filled = [word.format(**variables) for word in shlex.split(row["arguments"])]
        stages.append(Stage(row["module"], filled, Path(row["makes"].format(**variables))))
    return stages


def carry_out(stages: list[Stage]) -> int:
    """Run what is not done yet, in order; the exit status of the first stage that fails, else 0."""
    for number, stage in enumerate(stages, 1):
        title = f"[{number}/{len(stages)}] {stage.module} {' '.join(stage.arguments[:1])}"
        if stage.makes.exists():
            print(f"{title}: done before", flush=True)
            continue
        print(title, flush=True)
        status = subprocess.call([sys.executable, "-m", stage.module, *stage.arguments])
        if status:
            return status
        if not stage.makes.exists() and stage.makes.name == "finished":
            stage.makes.touch()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE")
    options = parser.parse_args()
    try:
        return carry_out(read_recipe(options.recipe, options.overrides))
    except UsageError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    sys.exit(main())
