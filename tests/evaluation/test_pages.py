"""The page of the metrics tells every figure; the report fits a phone and a desk in a real browser."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

pytest.importorskip("cv2")

DOCS = Path(__file__).resolve().parents[2] / "docs"
BROWSER = os.environ.get("PIXELSLEUTH_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
MEASURE = """
const frame = document.getElementById("frame");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll("body *")].filter((e) =>
    !e.closest(".scroll") && e.getBoundingClientRect().right > root.clientWidth + 0.5);
  const broken = [...page.images].filter((i) => i.naturalWidth === 0).length;
  const told = [root.scrollWidth - root.clientWidth, wide.length, broken, page.images.length];
  document.body.textContent = "RESULT" + told.join(",") + "END";
});
frame.srcdoc = document.getElementById("page").textContent;
"""


def test_the_page_of_the_metrics_tells_every_figure() -> None:
    import numpy as np

    from pixelsleuth.evaluation.figures import Frame, statistics
    from pixelsleuth.evaluation.predictions import pack_histogram
    from pixelsleuth.evaluation.protocols import get_protocol

    row = {"index": 0, "label": "real", "predicted": "real", "probabilities": [1.0, 0.0, 0.0], "group": "",
           "path": "a", "inconclusive": False, "histogram": pack_histogram(np.zeros((2, 256), np.int64)),
           "delivered": [0, 0, 0, 1]}  # fmt: skip
    text = (DOCS / "reference" / "metrics.md").read_text("utf-8")
    documented = set(re.findall(r"`([a-z0-9_]+)`", text))
    for name in statistics(Frame([row]), get_protocol("standard")):
        of_class = re.fullmatch(r"(recall|precision|f1)_(real|full_synthetic|tampered)", name)
        assert name in documented or (of_class and f"`{of_class[1]}_CLASS`" in text), name


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [375, 1280])
def test_the_report_fits_its_width_in_a_browser(
    cli: Callable[..., Result], data: Path, tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixelsleuth.evaluation.report import metrics_page as page_module
    from pixelsleuth.evaluation.report.curves import plots_of

    pytest.importorskip("matplotlib")
    monkeypatch.setattr(page_module, "plots_of", lambda result: plots_of(result)[:2])
    result = cli(
        "evaluate", "--model", "fake", "--data", data, "--out", tmp_path / "out", "--resamples", "10"
    )
    assert result.exit_code == 0, result.output
    measured = html.escape((tmp_path / "out" / "report.html").read_text("utf-8"))
    outer = tmp_path / "outer.html"
    outer.write_text(
        f'<!doctype html><meta charset="utf-8"><iframe id="frame" width="{width}" height="800"></iframe>'
        f'<textarea id="page" hidden>{measured}</textarea><script>{MEASURE}</script>',
        "utf-8",
    )
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom"]  # fmt: skip
    done = subprocess.run([*command, outer.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    measured = re.search(r"RESULT([\d,-]+)END", done.stdout)
    assert measured, done.stdout[-500:]
    overflow, wide, broken, pictures = map(int, measured[1].split(","))
    assert (overflow, wide, broken) == (0, 0, 0)
    assert pictures > 4
