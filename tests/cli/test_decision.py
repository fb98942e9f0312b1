"""Bounds on the command line: refused where nothing was measured, printed where it was; no mask without a verdict."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.scores import SCHEMA


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """The bundled detector's folder with a decision that is never wrong: every verdict from 0.34 on is conclusive."""
    folder = tmp_path / "measured"
    shutil.copytree(str(files("pixelsleuth.compact").joinpath("weights")), folder)
    labels = [label for label in range(3) for _ in range(120)]
    content = {
        "schema": SCHEMA,
        "how": "made for a test",
        "classes": ["real", "full_synthetic", "tampered"],
        "resaves": ["jpeg:85", "resize:0.75"],
        "sources": [f"source {i}" for i in range(36)],
        "kinds": ["photograph", "reduced"],
        "rows": {
            "source": [i // 10 for i in range(360)],
            "label": labels,
            "kind": [i % 2 for i in range(360)],
            "scores": [[340 if i % 3 == label else 330 for i in range(9)] for label in labels],
        },
    }
    (folder / "decision.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra 'demo') is not installed")
    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    return tmp_path / "coffee.png"


def test_bounds_are_refused_where_the_models_errors_were_never_measured(cli, pictures):
    for words in (["--accuse-at-most", "0.01"], ["--right-at-least", "0.95"], ["--fast"], ["--stable"]):
        result = cli("check", pictures, *words)
        assert result.exit_code == 2
        assert "was never measured" in result.stderr
        assert "Traceback" not in result.output


def test_bounds_that_make_no_sense_are_one_sentence(cli, measured, photograph):
    result = cli("check", photograph, "--model", measured, "--accuse-at-most", "3")
    assert result.exit_code == 2
    assert "--accuse-at-most is 3.0: it must be above 0 and below 1" in result.stderr


def test_the_chosen_bounds_stand_in_the_record(cli, measured, photograph):
    result = cli(
        "check", photograph, "--model", measured, "--format", "json", "--fast",
        "--accuse-at-most", "0.2", "--right-at-least", "0.8",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["decision"]["bounds"] == {"accused": 0.2, "right": 0.8}
    assert record["decision"]["stable"] is None
    assert record["decision"]["conclusive"] is not record["inconclusive"]
    assert record["decision"]["wrong"]["all"]["wrong"] == 0


def test_bounds_too_strict_for_the_sources_accuse_nobody_and_leave_no_mask(
    cli, measured, photograph, tmp_path
):
    result = cli(
        "check", photograph, "--model", measured, "--accuse-at-most", "0.001", "--save-masks", tmp_path / "masks"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "▲" not in result.stdout
    assert not list((tmp_path / "masks").glob("*.png"))
    assert "none is drawn where a verdict is not conclusively tampered" in result.stderr


def test_a_damaged_decision_file_is_one_sentence(cli, measured, photograph):
    (measured / "decision.json").write_text("{")
    result = cli("check", photograph, "--model", measured)
    assert result.exit_code == 2
    assert "decision.json is damaged" in result.stderr


def test_pixel_figures_do_not_depend_on_the_decision(cli, measured, tmp_path, monkeypatch):
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra 'demo') is not installed")
    pytest.importorskip("sklearn", reason="the extra 'eval' is not installed")
    rows = ["path,label,mask,source"]
    for number, pixels in enumerate((data.coffee()[:200, :200], data.chelsea()[:200, :200])):
        forged, mask = pixels.copy(), np.zeros((200, 200), np.uint8)
        forged[60:120, 60:120] = 255 - forged[:60, :60]
        mask[60:120, 60:120] = 255
        for name, picture in ((f"r{number}", pixels), (f"t{number}", forged), (f"m{number}", mask)):
            Image.fromarray(picture).save(tmp_path / f"{name}.png")
        rows += [f"r{number}.png,real,,s{number}", f"t{number}.png,tampered,m{number}.png,s{number}"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    # Plots take seconds a report; the tests of evaluation draw them.
    monkeypatch.setattr("pixelsleuth.evaluation.report.metrics_page.plots_of", lambda result: [])
    figures = []
    for name, bound in (("loose", "0.5"), ("strict", "0.0001")):
        out = tmp_path / name
        result = cli(
            "evaluate", "--model", measured, "--data", tmp_path / "manifest.csv", "--out", out, "--accuse-at-most",
            bound, "--fast", "--no-audit", "--resamples", "10", "--no-explain", "-q",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        figures.append(json.loads((out / "metrics.json").read_text())["models"][0]["conditions"]["clean"])
    loose, strict = (one["figures"] for one in figures)
    assert {k: v for k, v in loose.items() if k in ("pixel_f1", "pixel_auc", "auroc")} == {
        k: v for k, v in strict.items() if k in ("pixel_f1", "pixel_auc", "auroc")
    }
    assert strict["authentic_accused"]["value"] == 0
    assert loose["coverage"]["value"] > strict["coverage"]["value"]
    assert figures[0]["by_source"]["s0"]["conclusive"] == 2
