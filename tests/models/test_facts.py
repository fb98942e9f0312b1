"""Every baseline's facts stand in its own file, and are read without importing it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from pixelsleuth.models import facts
from pixelsleuth.models.baseline import Baseline
from pixelsleuth.models.facts import FACTS, module_of


@pytest.mark.parametrize("name", list(FACTS))
def test_what_is_read_is_what_the_class_has(name: str) -> None:
    classes = [value for value in vars(import_module(module_of(name))).values() if isinstance(value, type)]
    own = [value.facts for value in classes if issubclass(value, Baseline) and hasattr(value, "facts")]
    assert own == [FACTS[name]]


def test_every_file_among_the_baselines_is_one() -> None:
    files = Path(facts.__file__).with_name("baselines").glob("*.py")
    assert {path.stem for path in files} - {"__init__"} == set(FACTS) - {"lisa"}
    assert len({entry.known_by for entry in FACTS.values() if entry.known_by}) == sum(
        bool(entry.known_by) for entry in FACTS.values()
    )


@pytest.mark.parametrize("name", ["", ".", "../facts", "compact", "__init__", "a b", "owner/name", "x\0"])
def test_other_names_are_no_baselines(name: str) -> None:
    assert name not in FACTS


def test_the_bundled_detector_reads_no_facts_and_listing_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from pixelsleuth.models import facts, registry\n"
        "registry.load('compact')\n"
        "assert facts._read.cache_info().currsize == 0\n"
        "assert len(registry.specs()) > 20\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_facts_that_are_not_written_out_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "baselines").mkdir()
    monkeypatch.setattr(facts, "_MODELS", tmp_path)
    for name, block in (("npr2", "name=NAME,"), ("npr3", "name='npr2', title=1")):
        text = f"class A:\n    facts = Facts(\n        {block}\n    )\n"
        (tmp_path / "baselines" / f"{name}.py").write_text(text)
        with pytest.raises(ValueError, match="write facts out"):
            FACTS[name]
