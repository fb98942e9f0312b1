"""Small labelled sets for the stand-in detector, and a way to evaluate it as a user does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pixelsleuth.models import registry

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the stand-ins `fake` and `other` for tests only."""
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    for name, factory in (("fake", "load"), ("other", "load_other"), ("blind", "load_blind")):
        registry.register(registry.ModelSpec(name, f"eval_detectors:{factory}", summary="For tests."))


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take seconds a report; the test of the page draws them."""
    from pixelsleuth.evaluation.report import metrics_page as page

    monkeypatch.setattr(page, "plots_of", lambda result: [])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 24 pictures: three classes, groups of two, masks that the stand-in finds in part."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(5)
    rows = []
    for i in range(24):
        label = ("real", "full_synthetic", "tampered")[i % 3]
        pixels = random.integers(60, 200, (64 + 4 * (i % 4), 96, 3), dtype=np.uint8)
        name, mask_name = f"{label}-{i}.png", ""
        if label == "full_synthetic" and i % 4:
            pixels[:] = 120
        if label == "tampered":
            mask = np.zeros(pixels.shape[:2], np.uint8)
            mask[10:40, 20 : 50 + i] = 255
            if i % 4:
                pixels[14:44, 24 : 50 + i] = (255, 0, 255)
            mask_name = f"mask-{i}.png"
            Image.fromarray(mask).save(folder / mask_name)
        Image.fromarray(pixels).save(folder / name)
        rows.append(
            {
                "path": name,
                "split": "eval",
                "label": label,
                "mask": mask_name,
                "source": f"s{i % 2}",
                "generator": "g" if label == "full_synthetic" else "",
                "tamper": "splice" if label == "tampered" else "",
                "group": f"g{i // 6}-{i % 3}",
            }
        )
    write_manifest(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


def write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def cli() -> Callable[..., Result]:
    """Run `pixelsleuth ARGUMENTS` in this process."""
    from pixelsleuth.cli.main import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run
