"""A user's own program passes `mypy --strict` as it stands: the package carries its types."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy reads the types: run `make setup`")

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = '''
"""Sorts pictures by verdict."""

import sys
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import pixelsleuth as ps
from pixelsleuth.errors import UnknownModel, UsageError


def line(verdict: ps.Verdict) -> str:
    assert_type(verdict.label, ps.Label | None)
    if verdict.label is None or verdict.probabilities is None:
        return f"{verdict.source}: {verdict.error}"
    assert_type(verdict.probabilities[verdict.label], float)
    assert_type(verdict.regions, list[ps.Region])
    widest = max((region.box[2] - region.box[0] for region in verdict.regions), default=0)
    assert_type(widest, int)
    sentences = assert_type(verdict.explanation, str | None)
    return f"{verdict.label.value} {verdict.probabilities[verdict.label]:.2f} {widest} {sentences or ''}"


def main(paths: list[str]) -> int:
    try:
        detector = assert_type(ps.load("compact"), ps.Detector)
        print(detector.notices, ps.Capability.LOCALIZE in detector.capabilities)
        verdict = assert_type(detector.check(paths[0], explain=False), ps.Verdict)
        listed = assert_type(detector.check([Path(path) for path in paths]), list[ps.Verdict])
        assert_type(ps.check(np.zeros((32, 32, 3), np.uint8)), ps.Verdict)
        listed += assert_type(ps.check(paths, model="compact"), list[ps.Verdict])
    except ps.PictureError as error:
        print(assert_type(error.code, str).upper(), error, file=sys.stderr)
        return 1
    except (UnknownModel, UsageError) as error:
        print(error.code, file=sys.stderr)
        return 2
    for streamed in detector.check_many(ps.find_pictures(["pictures/"]), batch_size=detector.beside):
        print(line(streamed), streamed.label == "tampered", streamed.inconclusive)
    mask: NDArray[np.bool_] | None = verdict.mask
    overlay: Image.Image = verdict.overlay()
    overlay.save("overlay.png")
    print(0 if mask is None else int(mask.sum()), verdict.to_dict()["label"], *map(line, listed))
    try:
        with ps.Client("http://127.0.0.1:8000", model="compact", timeout=5.0) as client:
            print(line(assert_type(client.check(b"..."), ps.Verdict)))
    except ps.PixelSleuthError as error:
        print(error.code, error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''


def installed(folder: Path) -> Path:
    """The interpreter of an environment with this package and the two whose types it shows; nothing heavier."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/*/site-packages")
    (site / "pixelsleuth").symlink_to(ROOT / "src" / "pixelsleuth")
    for name in ("numpy", "PIL"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (site / name).symlink_to(Path(spec.origin).parent)
    return folder / "bin" / "python"


@pytest.mark.skipif(sys.platform == "win32", reason="makes symbolic links")
def test_a_users_program_and_the_page_on_python_pass_mypy_strict_without_an_ignore(tmp_path: Path) -> None:
    python = installed(tmp_path / "environment")
    page = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 4
    files = [tmp_path / f"program_{number}.py" for number in range(len(snippets) + 1)]
    for file, text in zip(files, [PROGRAM, *snippets], strict=True):
        file.write_text(text, encoding="utf-8")
    command = [
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--python-executable",
        str(python),
        *map(str, files),
    ]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
