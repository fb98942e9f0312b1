"""`explorer.html`: its counts are those of the predictions, at every threshold, in Python and in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import PROGRAM, Browser
from click.testing import Result

from pixelsleuth.evaluation.figures import Frame
from pixelsleuth.evaluation.report.thresholds import SCORES, STEPS, half_of, score_of, steps_of, tables

pytest.importorskip("sklearn.metrics")
Cli = Callable[..., Result]


def made_rows(number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of predictions with scores that tie often."""
    random = np.random.default_rng(seed)
    labels = ("real", "full_synthetic", "tampered")
    rows = []
    for index in range(number):
        truth = int(random.integers(3))
        chances = random.dirichlet(np.ones(3) + 2 * np.eye(3)[truth]).round(2)
        chances[0] = round(1 - chances[1] - chances[2], 2)
        rows.append(
            {
                "index": index, "label": labels[truth], "probabilities": chances.tolist(),
                "predicted": labels[int(chances.argmax())], "inconclusive": bool(chances.max() < 0.6),
                "group": f"g{index // 2}", "path": f"{index}.png", "source": f"s{index % 3}" if index % 4 else None,
            }
        )  # fmt: skip
    return rows


def flagged(parts: list[list[Any]], step: int, side: int) -> int:
    return sum(
        count
        for _, _, fake, pairs, _ in parts
        if fake == side
        for at, count in zip(pairs[::2], pairs[1::2], strict=True)
        if at >= step
    )


@pytest.mark.parametrize("number", [40, 4000])
def test_counts_at_every_step_are_those_of_the_scores(number: int) -> None:
    frame = Frame(made_rows(number))
    sources: dict[str, int] = {}
    found = tables(frame, sources)
    assert set(found) == set(SCORES)
    for name, positives in SCORES.items():
        scores = score_of(frame, positives)
        table = found[name]
        assert len(table["steps"]) <= STEPS
        authentic = frame.truth == 0
        fake = np.isin(frame.truth, positives)
        for step, value in [*enumerate(table["steps"]), (len(table["steps"]), np.inf)]:
            assert flagged(table["parts"], step, 0) == (scores[authentic] >= value).sum()
            assert flagged(table["parts"], step, 1) == (scores[fake] >= value).sum()
        decided = ~frame.inconclusive & np.isin(frame.predicted, positives)
        assert sum(part[4] for part in table["parts"] if part[2] == 0) == (decided & authentic).sum()
        alarms = [index for index, _ in table["alarms"] if half_of(frame.groups[index]) == 0]
        assert [scores[i] for i in alarms] == sorted((scores[i] for i in alarms), reverse=True)
        assert all(frame.truth[index] == 0 for index, _ in table["alarms"])
    assert set(sources) == {"s0", "s1", "s2", "no source named"}


def test_steps_are_scores_that_occur_and_groups_lie_in_one_half() -> None:
    scores = np.random.default_rng(1).random(5000)
    steps = steps_of(scores)
    assert len(steps) == STEPS
    assert np.isin(steps, scores).all()
    assert steps[0] == scores.min()
    halves = [half_of(f"group {number}") for number in range(200)]
    assert 60 < sum(halves) < 140


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explored")


@pytest.fixture
def page(explored: Path, data: Path, cli: Cli) -> Path:
    """The page of an evaluation whose names of sources try to break out of it."""
    out = explored / "out"
    if not (out / "explorer.html").exists():
        manifest = data.read_text("utf-8").replace("source", "origin", 1)
        lines = manifest.splitlines()
        lines[0] += ",source"
        lines[1:] = [
            f"{line},</script><img src=x onerror=alert({i % 2})>" for i, line in enumerate(lines[1:])
        ]
        hostile = data.parent / "hostile.csv"
        hostile.write_text("\n".join(lines), "utf-8")
        result = cli(
            "evaluate", "--model", "fake", "--data", hostile, "--split", "eval", "--out", out,
            "--no-audit", "--resamples", "10", "--perturb", "jpeg:50",
        )  # fmt: skip
        assert "explorer.html" in result.output, result.output
    return out / "explorer.html"


def test_the_page_asks_for_nothing_and_its_data_cannot_end_their_block(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.count("</script>") == 2
    assert "<img src=x" not in text
    assert not re.search(r"(?:src|href)=\"(?!report\.html|data:)", text)
    assert 'href="explorer.html"' in (page.parent / "report.html").read_text("utf-8")
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    data = json.loads(block[1])
    assert data["sources"][0].startswith("</script>")
    assert any(picture["uri"].startswith("data:image/jpeg") for picture in data["pictures"].values())


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("no chromium on this machine")
    opened = Browser(tmp_path)
    yield opened
    opened.close()


def test_in_a_browser_the_threshold_moves_the_figures(page: Path, browser: Browser) -> None:
    browser.open(page.resolve().as_uri())
    rows = [
        json.loads(line) for line in (page.parent / "predictions.jsonl").read_text("utf-8").splitlines()[1:]
    ]
    rows = [row for row in rows if row["condition"] == "clean"]
    frame = Frame(rows)
    half = np.array([half_of(group) for group in frame.groups])
    scores = score_of(frame, (1, 2))
    steps = steps_of(scores)
    browser.run("document.getElementById('score').value = 'fake'")
    for step in (0, len(steps) // 2, len(steps)):
        browser.run(
            f"(() => {{ const s = document.getElementById('step'); s.value = {step};"
            " s.dispatchEvent(new Event('input')); })()"
        )
        value = steps[step] if step < len(steps) else np.inf
        told = browser.run(
            "[...document.querySelectorAll('#figures tbody tr')].slice(0, 2).map((row) =>"
            " [...row.cells].slice(1, 3).map((cell) => cell.querySelector('small').textContent))"
        )
        for line, side in zip(told, (frame.truth == 0, frame.truth > 0), strict=True):
            expected = [
                f"{(scores[side & (half == part)] >= value).sum()} of {(side & (half == part)).sum()}"
                for part in (0, 1)
            ]
            assert line == expected
    browser.run("document.querySelector('#misses button').click()")
    assert browser.run("document.getElementById('one').open") is True
    assert browser.run("document.querySelectorAll('main script, main img[src=x]').length") == 0
    assert not browser.log
