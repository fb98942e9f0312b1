"""Recipes: every one that ships can be read and names figures that exist; published figures stand beside ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelsleuth.errors import UsageError
from pixelsleuth.evaluation import perturbations
from pixelsleuth.evaluation.recipes import read_recipe

pytest.importorskip("yaml")
pytest.importorskip("cv2")

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes" / "tables").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_reproduces_and_what_to_download(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.data["download"]
    assert recipe.columns
    assert recipe.published
    assert recipe.source["paper"]
    conditions = {"clean", *recipe.perturb}
    assert {row.condition for row in recipe.published} <= conditions
    for row in recipe.published:  # a table in percent does not hold fractions
        assert all(recipe.scale == 1 or 1 < value <= 100 for value in row.figures.values())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_column_of_a_recipe_is_a_figure_of_its_protocol(path: Path) -> None:
    import numpy as np

    from pixelsleuth.evaluation.figures import Frame, statistics
    from pixelsleuth.evaluation.metrics import localization
    from pixelsleuth.evaluation.predictions import pack_histogram
    from pixelsleuth.evaluation.protocols import get_protocol

    histogram = pack_histogram(localization.histograms(np.eye(8) * 0.9, np.eye(8) > 0))
    row = {"index": 0, "label": "tampered", "predicted": "tampered", "probabilities": [0.1, 0.2, 0.7], "group": "",
           "path": "a", "inconclusive": False, "histogram": histogram, "delivered": [8, 0, 0, 56]}  # fmt: skip
    recipe = read_recipe(path)
    known = statistics(Frame([row]), get_protocol(recipe.protocol))
    assert {figure for figure in recipe.columns.values() if "." not in figure} <= set(known)


def test_the_six_perturbations_of_the_paper_are_one_recipe() -> None:
    (path,) = [path for path in RECIPES if path.stem == "sida_table4"]
    assert set(read_recipe(path).perturb) == set(perturbations.PAPER)


@pytest.mark.parametrize("name", ["sida_table2", "sida_table3", "sida_table4"])
def test_a_table_comes_out_of_one_recipe(
    name: str, cli: Callable[..., Result], data: Path, tmp_path: Path
) -> None:
    (path,) = [path for path in RECIPES if path.stem == name]
    result = cli("evaluate", "--recipe", path, "--model", "fake", "--data", data, "--out", tmp_path,
                 "--limit", "6", "--resamples", "10", "--no-audit")  # fmt: skip
    assert result.exit_code == 0, result.output
    result = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    recipe, table = read_recipe(path), result["table"]
    assert list(table["columns"]) == list(recipe.columns)
    measured = [row for row in table["rows"] if row["kind"] == "measured"]
    assert [row["condition"] for row in measured] == ["clean", *recipe.perturb]
    assert len(table["rows"]) == len(measured) + len(recipe.published)
    figures = result["models"][0]["conditions"]["clean"]["figures"]
    for column, name_of in recipe.columns.items():
        expected = figures[name_of]["value"]
        if expected is None:
            assert measured[0]["figures"][column] is None
        else:
            assert measured[0]["figures"][column] == pytest.approx(100 * expected, abs=1e-3)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count('class="kind published"') == len(recipe.published)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["title", "protocol", "columns", "published", "perturb", "x"]),
        st.one_of(st.none(), st.text(max_size=5), st.integers(), st.lists(st.text(max_size=5))),
    )
)
def test_anything_else_is_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: dict
) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError) as refusal:
        read_recipe(path)
    assert "\n" not in str(refusal.value)


def test_the_papers_way_of_averaging_gives_its_printed_cells() -> None:
    """AntifakePrompt's row of SIDA's table 2, from a thousand answers a class with its accuracies."""
    import numpy as np

    from pixelsleuth.evaluation.figures import Frame, statistics
    from pixelsleuth.evaluation.protocols import get_protocol

    rows = []
    for label, right in (("real", 648), ("full_synthetic", 938), ("tampered", 308)):
        for i in range(1000):
            fake = (label != "real") == (i < right)
            chances = [0.1, 0.9, 0.0] if fake else [0.9, 0.1, 0.0]
            row = {
                "index": len(rows),
                "label": label,
                "predicted": ("real", "full_synthetic")[fake],
                "group": "",
            }
            rows.append({**row, "probabilities": chances, "path": f"{label}{i}", "inconclusive": False})
    frame = Frame(rows)
    figures = statistics(frame, get_protocol("sida_tables"))
    measured = {name: 100 * float(statistic(np.ones(len(frame)))) for name, statistic in figures.items()}
    assert measured["sida_tables_f1_real"] == pytest.approx(78.6, abs=0.05)
    assert measured["sida_tables_f1_full_synthetic"] == pytest.approx(96.8, abs=0.05)
    assert measured["sida_tables_f1_tampered"] == pytest.approx(47.2, abs=0.15)
    assert measured["sida_tables_f1"] == pytest.approx(69.3, abs=0.3)
    assert measured["sida_tables_acc"] == pytest.approx((64.8 + 93.8 + 30.8) / 3)
    assert measured["accuracy"] < measured["sida_tables_acc"]  # which class of fake, is another question
