"""The notebooks run, and hold the outputs of a run that was whole."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 300_000
"""Bytes of a notebook with its outputs."""
QUICKEST = "1-first-verdicts"


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_there_are_four() -> None:
    assert len(NOTEBOOKS) == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_outputs_are_those_of_a_whole_run(path: Path) -> None:
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    texts = "".join("".join(output.get("text", "")) for output in outputs)
    assert texts
    assert not re.search(r"/(?:home|root|tmp|work)/|Traceback|^Error:|\x1b", texts, re.MULTILINE)
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_sources_are_python_and_its_links_lead_somewhere(path: Path) -> None:
    for cell in cells(path, "code"):
        source = "".join(cell["source"])
        ast.parse(source.partition("\n")[2] if source.startswith("%%writefile") else source)
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\((\.\./[^)#]+)", "".join(cell["source"])):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if path.stem == QUICKEST else [pytest.mark.thorough]) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
@pytest.mark.timeout(1200)
def test_it_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nbclient", "ipykernel", "skimage", "matplotlib"):
        pytest.importorskip(name)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    from tools.notebooks import execute

    notebook = execute(path)
    kept = cells(path, "code")
    for ours, now in zip(kept, (cell for cell in notebook.cells if cell.cell_type == "code"), strict=True):
        assert [output["output_type"] for output in ours["outputs"]] == [o.output_type for o in now.outputs]
