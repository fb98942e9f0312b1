"""The report in a real browser: no sideways scrolling on a phone, the style sheet is applied, it prints.

The page is measured inside a frame of the wanted width, because a headless window cannot be as narrow as a
phone.
"""

from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.reporting.html import HtmlReport

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = os.environ.get("PIXELSLEUTH_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium on this machine (Debian: apt install chromium)"
)

MEASURE = """
const frame = document.getElementById("frame");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, root = page.documentElement, view = frame.contentWindow;
  const all = (selector) => [...page.querySelectorAll(selector)];
  const folded = all(".looks").filter((e) => !e.open).length;
  all("details").forEach((e) => { e.open = true; });
  const shown = (selector) => all(selector).filter((e) => e.getClientRects().length).length;
  const visible = (selector) => view.getComputedStyle(page.querySelector(selector)).visibility;
  const wide = all("body *").filter((e) =>
    !e.closest(".scroll") && e.getBoundingClientRect().right > root.clientWidth + 0.5);
  const result = {
    overflow: root.scrollWidth - root.clientWidth, wide: wide.map((e) => e.outerHTML.slice(0, 80)),
    margin: view.getComputedStyle(page.body).margin, cards: shown(".card"),
    broken: [...page.images].filter((i) => i.naturalWidth === 0).length,
    loaded: view.performance.getEntriesByType("resource")
      .map((e) => e.name).filter((n) => !n.startsWith("data:")),
    heat: visible("#p1 .heat"), folded,
    drawn: all(".drawn").filter((e) => e.getBoundingClientRect().width > 50
      && e.querySelector("image, use").getBoundingClientRect().width > 50).length,
    tree: shown(".tree li"), looks: shown(".looks img"),
  };
  page.querySelector("label[for=v1-plain]").click();
  result.plain = visible("#p1 .heat");
  page.querySelector("label[for=show-tampered]").click();
  result.filtered = shown(".card");
  document.body.textContent = "RESULT" + JSON.stringify(result) + "END";
});
frame.srcdoc = document.getElementById("page").textContent;
"""


LOOK = SimpleNamespace(
    title="Error level",
    what_to_look_for="A brighter part.",
    what_to_ignore="Edges.",
    image=np.full((90, 900, 3), 60, np.uint8),
)


def said(long: str) -> list[dict[str, object]]:
    """Findings of every form: a region, matched pairs, a tree of ingredients with long names."""
    shows = {
        "statement": f"A part differs. {long}",
        "strength": "shows",
        "false_alarms": 0.001,
        "measured": True,
    }
    node: dict[str, object] = {"title": long, "problems": [long]}
    for _ in range(3):
        node = {"title": "a.jpg", "relationship": "componentOf", "signer": long, "ingredients": [node]}
    pairs = [[50 + at, 60, 650 + at, 460] for at in range(0, 80, 9)]
    return [
        {**shows, "kind": "grid", "region": [8, 16, 240, 248]},
        {
            **shows,
            "kind": "copy_move",
            "detail": {"boxes": [[40, 40, 160, 90], [640, 440, 760, 490]], "lines": pairs},
        },
        {**shows, "kind": "c2pa", "detail": {"ingredients": [node]}},
    ]


def png(size: tuple[int, int]) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", size, "teal").save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture
def report(tmp_path, verdict, failure):
    long = "a_very_long_name_without_any_break_" * 4
    report = HtmlReport(tmp_path / "report.html", total=5)
    judged = verdict("tampered", source=f"some/folder/{long}.jpg", size=(900, 600), evidence=said(long))
    judged.illustrations = {2: (SimpleNamespace(caption=long, image=png((320, 40)), media_type="image/png"),)}
    report.add(judged, looks=[LOOK])
    report.add(verdict("full_synthetic", size=(300, 1200), explanation="word" * 60))
    report.add(verdict("real", size=(2400, 200)))
    report.add(verdict("real", inconclusive=True, warnings=["The picture has been scaled."]))
    report.add(failure)
    report.close()
    return tmp_path / "report.html"


def browse(tmp_path, *arguments: str) -> str:
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
    ]
    command += [
        "--no-first-run",
        "--disable-extensions",
        f"--user-data-dir={tmp_path / 'profile'}",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("width", [320, 375, 820, 1280])
def test_the_page_fits_its_width_and_works_without_script_or_network(tmp_path, report, width):
    outer = tmp_path / "outer.html"
    page = html.escape(report.read_text("utf-8"))
    outer.write_text(
        f'<!doctype html><meta charset="utf-8"><iframe id="frame" width="{width}" height="800"></iframe>'
        f'<textarea id="page" hidden>{page}</textarea><script>{MEASURE}</script>',
        "utf-8",
    )
    dom = browse(tmp_path, "--virtual-time-budget=10000", "--dump-dom", outer.as_uri())
    match = re.search(r"RESULT(.*?)END", dom)
    assert match, dom[-500:]
    result = json.loads(html.unescape(match.group(1)))
    assert result == {
        "overflow": 0,
        "wide": [],
        "margin": "0px",
        "cards": 4,
        "broken": 0,
        "loaded": [],
        "heat": "visible",
        "plain": "hidden",
        "filtered": 1,
        "folded": 1,
        "drawn": 2,
        "tree": 4,
        "looks": 1,
    }


def test_the_page_prints_on_paper(tmp_path, report):
    pdf = tmp_path / "report.pdf"
    browse(tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer", report.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes()))
    assert 2 <= pages <= 4  # four cards and a heading: neither cut into slices nor one picture a page
