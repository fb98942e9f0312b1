"""A recipe of stages runs them in order, skips what is done, and stops at the first failure."""

from pathlib import Path
from typing import Any

import pytest

from pixelsleuth.core.settings import read_yaml
from pixelsleuth.errors import StageError, UsageError
from pixelsleuth.training.compact.pipeline import plan, run, stages_of

ROOT = Path(__file__).resolve().parents[2]
COMPACT = ROOT / "recipes/compact.yaml"
GIVEN = ("data=[m.csv, n.csv]", "lite=lite0.pth", "taef2=taef2", "start=none")


def recipe(tmp_path: Path, *stages: tuple[str, str, str]) -> dict[str, Any]:
    rows = [{"module": m, "arguments": a, "makes": made} for m, a, made in stages]
    return {"kind": "stages", "out": str(tmp_path), "leaves": "{out}", "stages": rows}


def test_the_shipped_recipe_names_modules_that_exist(tmp_path: Path) -> None:
    from importlib.util import find_spec

    stages = stages_of(read_yaml(COMPACT, [f"out={tmp_path}", *GIVEN]))
    assert len(stages) > 8
    assert all(find_spec(stage.module) for stage in stages)
    assert all(stage.makes.is_relative_to(tmp_path) for stage in stages)
    assert stages[0].arguments[:3] == ["--manifest", "m.csv", "n.csv"]


def test_done_stages_are_skipped_and_a_failure_stops(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "there").touch()
    done = ("no.such.module", "", "{out}/there")
    works = ("compileall", "-q {out}", "{out}/finished")
    fails = ("no.such.module", "", "{out}/never")
    assert run(recipe(tmp_path, done, works)) == tmp_path
    assert (tmp_path / "finished").exists()
    with pytest.raises(StageError, match=r"Stage 2 \(no\.such\.module\) ended with status 1"):
        run(recipe(tmp_path, works, fails, works))
    assert "[1/3] compileall: done before" in capfd.readouterr().err
    assert plan(recipe(tmp_path, works, fails)).splitlines() == ["done   compileall", "to do  no.such.module"]


@pytest.mark.parametrize(
    "override, told",
    [
        ("dtaa=x", "no setting dtaa; did you mean data"),
        ("data=", "names no data: add data=... to the command"),
        ("stages=[{module: x}]", "needs module, arguments and makes"),
    ],
)
def test_what_no_stage_uses_or_lacks_is_refused(tmp_path: Path, override: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        stages_of(read_yaml(COMPACT, [*GIVEN, f"out={tmp_path}", override]))
