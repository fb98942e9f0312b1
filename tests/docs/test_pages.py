"""Every command and snippet of the pages is run, in order, in a folder with the files that the page names.

What cannot be run here says why, in a comment that `page_blocks` describes.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_blocks import BLOCK, COMMENT, Block, blocks_of
from page_inputs import copy_inputs, make_weights
from page_runner import PageRunner

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PARTS = ("start", "how-to", "reference", "background")
PAGES = {
    str(page.relative_to(ROOT)): blocks_of(page)
    for page in (
        ROOT / "README.md",
        *(page for part in PARTS for page in sorted((DOCS / part).rglob("*.md"))),
    )
}
RUN = ("console", "python", "sql")
_spec = importlib.util.spec_from_file_location("serving_conftest", ROOT / "tests" / "serving" / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
serving = importlib.util.module_from_spec(_spec)
sys.modules["serving_conftest"] = serving  # its dataclass looks its module up
_spec.loader.exec_module(serving)


def run_page(blocks: list[Block], inputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks in a copy of the inputs. Weights and modules of the folder are there for this page alone."""

    def serve(*options: str) -> tuple[str, Callable[[], Any]]:
        served = serving.serve(*options, folder=folder)
        return served.url.replace("0.0.0.0", "127.0.0.1"), served.stop

    copy_inputs(inputs, folder)
    if any("NPR.pth" in block.body for block in blocks):
        make_weights(folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(folder / "home"))
    before = set(sys.modules)
    runner = PageRunner(folder, serve)
    try:
        for block in blocks:
            runner.run(block)
    finally:
        runner.close()
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def to_run(page: str, *, thorough: bool) -> list[Block]:
    left_out = ("not run",) if thorough else ("not run", "thorough")
    return [b for b in PAGES[page] if (b.language in RUN or b.how == "file") and b.how not in left_out]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page, thorough=False)])
def test_the_commands_of_a_page_work(
    page: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_page(to_run(page, thorough=False), inputs, tmp_path / "page", monkeypatch)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "page", [page for page, blocks in PAGES.items() if any(b.how == "thorough" for b in blocks)]
)
def test_the_commands_of_a_page_work_also_those_that_take_long(
    page: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_page(to_run(page, thorough=True), inputs, tmp_path / "page", monkeypatch)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_says_why(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    marked = [match for match in BLOCK.finditer(text) if match["how"]]
    assert len(COMMENT.findall(text)) == len(marked), "a comment stands before no block, or is misspelt"
    for match in marked:
        assert match["how"] == "file" or len(match["what"].split()) >= 2, f"{match['what']!r} is no reason"
    shell = [block for block in PAGES[page] if block.language in ("sh", "bash", "shell")]
    assert not shell, "commands stand in console blocks, behind `$ `"
