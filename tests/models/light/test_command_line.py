"""As a user without torch meets it: weights from a mirror, then `check`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SOURCES = Path(__file__).parents[3] / "src"
BLOCKER = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "scipy", "onnx", "cv2", "yaml", "huggingface_hub"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run `pixelsleuth ARGUMENTS` in a process in which no extra can be imported, with a store of its own."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "sitecustomize.py").write_text(BLOCKER)
    environment = {key: value for key, value in os.environ.items() if key not in ("HF_ENDPOINT", "HF_TOKEN")}
    environment |= {"PYTHONPATH": f"{folder}{os.pathsep}{SOURCES}", "PIXELSLEUTH_HOME": str(folder / "home")}

    def run(*words: str | Path) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pixelsleuth", *map(str, words)],
            capture_output=True, text=True, timeout=280, env=environment,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    run.home = folder / "home"  # type: ignore[attr-defined]
    return run


def test_weights_from_a_mirror_judge_without_torch(
    light: Run, published: Callable[[str], Path], picture: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "OwensLab" / "commfor-model-384"
    mirror.mkdir(parents=True)
    (mirror / "model.safetensors").symlink_to(published("384"))
    (mirror / "config.json").write_text("{}")
    status, _, errors = light("models", "get", "commfor", "--from", tmp_path, "--own-weights")
    assert status == 0, errors

    status, printed, errors = light("check", picture, "--model", "commfor", "--format", "json")
    assert status == 0, errors
    (verdict,) = json.loads(printed)
    assert verdict["model"]["name"] == "commfor"
    assert verdict["model"]["version"].endswith(".onnx")
    assert "panel" not in verdict

    # The default is the panel: compact, and the specialist, which was never measured and so decides nothing.
    status, printed, errors = light("check", picture, "--format", "json")
    assert status == 0, errors
    (verdict,) = json.loads(printed)
    assert [member["name"] for member in verdict["panel"]] == ["compact", "commfor"]
    assert "commfor" in verdict["model"]["version"]
    assert verdict["panel"][1]["speaks_for"] == []
    assert verdict["panel"][1]["conclusive"] is False
    assert "published" in verdict["panel"][1]["figures"]
    status, printed, errors = light("check", picture)
    assert "commfor: wholly generated" in " ".join(printed.split())
    assert "never measured here" in " ".join(printed.split())

    # A damaged weight is named once, and the others judge.
    (stored,) = Path(light.home).rglob("model.safetensors")  # type: ignore[attr-defined]
    stored.chmod(0o644)
    with open(stored, "r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\0" * 50)
    second = tmp_path / "second.png"
    second.write_bytes(picture.read_bytes())
    status, printed, errors = light("check", picture, second, "--format", "jsonl")
    assert status == 0, errors
    assert [json.loads(line)["model"]["name"] for line in printed.splitlines()] == ["compact", "compact"]
    assert errors.count("commfor is left out") == 1
    assert "pixelsleuth models get commfor --force" in errors
    assert "commfor" not in light("check", picture, "--quiet")[2]


def test_with_nothing_fetched_auto_is_the_bundled_detector(picture: Path, light: Run, tmp_path: Path) -> None:
    alone = tmp_path / "nothing"
    code = (
        "import json, os, sys\n"
        f"os.environ['PIXELSLEUTH_HOME'] = {str(alone)!r}\n"
        "import pixelsleuth as ps\n"
        f"records = [ps.load(*name).check({str(picture)!r}).to_dict() for name in ((), ('compact',))]\n"
        "[record.pop('elapsed_ms') for record in records]\n"
        "assert records[0] == records[1], records\n"
        "assert 'panel' not in records[0]\n"
        "assert ps.load().notices == ()\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
