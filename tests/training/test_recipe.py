"""A recipe runs its stages in order, skips what is done, and stops at the first failure."""

from pathlib import Path

import pytest

from pixelsleuth.core.errors import UsageError
from pixelsleuth.training.recipe import Stage, carry_out, read_recipe

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_recipe_names_modules_that_exist(tmp_path: Path) -> None:
    from importlib.util import find_spec

    stages = read_recipe(ROOT / "recipes/compact.yaml", [f"runs={tmp_path}"])
    assert len(stages) > 8
    assert all(find_spec(stage.module) for stage in stages)
    assert all(stage.makes.is_relative_to(tmp_path) for stage in stages)


def test_done_stages_are_skipped_and_a_failure_stops(tmp_path: Path) -> None:
    marker = tmp_path / "out.pdb"
    done = Stage("no.such.module", [], ROOT / "recipes/compact.yaml")
    works = Stage("compileall", ["-q", str(tmp_path)], tmp_path / "finished")
    fails = Stage("no.such.module", [], marker)
    assert carry_out([done, works]) == 0
    assert (tmp_path / "finished").exists()
    assert carry_out([fails, works]) != 0


def test_an_unknown_variable_is_refused_with_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean corpus"):
        read_recipe(ROOT / "recipes/compact.yaml", ["corpsu=x"])


def test_a_stage_without_its_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("stages: [{module: x}]\n")
    with pytest.raises(UsageError, match="every stage needs"):
        read_recipe(tmp_path / "r.yaml", [])
