"""Measuring a member of a panel: the source is the unit, and too few of them certify nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pixelsleuth.cli.main import main
from pixelsleuth.core.decision import Decision
from pixelsleuth.core.detector import Detector
from pixelsleuth.core.scores import scores_of
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.data.readers import open_data
from pixelsleuth.errors import UsageError
from pixelsleuth.evaluation.measuring import measure_decision
from pixelsleuth.models import registry, store
from pixelsleuth.pictures.images import Picture


class Brightness(Detector):
    """Calls bright pictures generated."""

    name, version = "commfor", "1+abc"

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        verdicts = []
        for picture in pictures:
            share = 0.97 if picture.pixels.mean() > 128 else 0.03
            verdicts.append(
                Verdict.of(
                    picture, {"real": 1 - share, "full_synthetic": share, "tampered": 0.0}, model=self.model
                )  # type: ignore[dict-item]
            )
        return verdicts


def manifest(folder: Path, sources: int, *, each: int = 6, named: bool = True) -> Path:
    """Dark real pictures and bright generated ones."""
    rows: list[tuple[str, ...]] = [("path", "label", "source") if named else ("path", "label")]
    for source in range(sources):
        for i in range(each):
            label = "real" if i % 2 else "full_synthetic"
            pixels = np.random.default_rng(i).integers(0, 90, (16, 20, 3)) + (0 if i % 2 else 160)
            name = f"{source}-{i}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            rows.append((name, label, f"source {source}") if named else (name, label))
    path = folder / "manifest.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_the_rows_are_what_the_decision_is_fitted_on(tmp_path: Path) -> None:
    data = open_data(manifest(tmp_path, 40))
    rows = measure_decision(Brightness(), data, Label.FULL_SYNTHETIC, kinds=("photograph", "recompressed"))
    assert len(rows.scores) == 40 * 6 * 2
    assert rows.scores[0] == [30, 970, 0] * 3
    scores = scores_of(
        json.loads(json.dumps(rows.to_dict({"name": "commfor"}, ("photograph", "recompressed"))))
    )
    decision = Decision.fit(scores)
    assert decision.thresholds[Label.FULL_SYNTHETIC] is not None
    record = decision.record(Label.FULL_SYNTHETIC, "recompressed")
    assert (record.wrong, record.of, record.sources) == (0, 120, 40)


def test_too_few_sources_certify_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="9 sources with pictures labelled real; fewer than 10 certify nothing"
    ):
        measure_decision(Brightness(), open_data(manifest(tmp_path, 9)), Label.FULL_SYNTHETIC)


def test_a_picture_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a column 'source'"):
        measure_decision(Brightness(), open_data(manifest(tmp_path, 12, named=False)), Label.FULL_SYNTHETIC)


def test_the_command_keeps_the_measurement_beside_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(registry, "load_light_first", lambda name: Brightness())
    data = str(manifest(tmp_path, 40))
    runner = CliRunner()
    result = runner.invoke(main, ["models", "calibrate", "commfor", "--data", data])
    assert result.exit_code == 2
    assert "models get commfor" in result.stderr
    store.folder("commfor").mkdir(parents=True)
    result = runner.invoke(main, ["models", "calibrate", "commfor", "--data", data])
    assert result.exit_code == 0, result.output
    assert "240 judgements, 40 sources" in result.stdout
    assert "wrong for 0 of 120" in result.stdout
    content = json.loads((store.folder("commfor") / "decision.json").read_text())
    assert content["model"] == {"name": "commfor", "weights": "abc"}
    result = runner.invoke(main, ["models", "calibrate", "compact", "--data", data])
    assert result.exit_code == 2
    assert "No panel has a member 'compact'" in result.stderr
