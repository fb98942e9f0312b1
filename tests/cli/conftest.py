"""Pictures with known answers for the stand-in detector, and a way to run the command as a user does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pixelsleuth.models import registry

FAKES = Path(__file__).parents[1] / "fakes"
SOURCES = Path(__file__).parents[2] / "src"


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the stand-in as a model called `fake`, for tests only."""
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    registry.register(
        registry.ModelSpec(name="fake", factory="fake_detector:load", summary="For tests.", parameters=12_000)
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one picture of each kind: `real.png`, `fake.png`, `tampered.png`, `thin.png`."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(90, 200, (60, 80, 3), dtype=np.uint8)
    tampered = noise.copy()
    tampered[30:50, 10:30] = (255, 0, 255)
    save = lambda pixels, name: Image.fromarray(pixels).save(folder / name)  # noqa: E731
    save(noise, "real.png")
    save(np.full_like(noise, 120), "fake.png")
    save(tampered, "tampered.png")
    save(noise // 10, "thin.png")
    return folder


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `pixelsleuth ARGUMENTS` in this process; `check` speaks to the stand-in unless told otherwise."""
    from pixelsleuth.cli.main import main

    def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
        words = [str(argument) for argument in arguments]
        if words[:1] == ["check"] and "--model" not in words:
            words += ["--model", "fake"]
        return CliRunner().invoke(main, words, input=stdin)

    return run


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Start `python -m pixelsleuth ARGUMENTS` as a process of its own."""

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        paths = [str(SOURCES), str(FAKES), os.environ.get("PYTHONPATH", "")]
        # A shell that runs the tests in the background hands down an ignored SIGINT; a user's terminal does not.
        inherited = signal.signal(signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(
            [sys.executable, "-m", "pixelsleuth", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
        )
        signal.signal(signal.SIGINT, inherited)
        return process

    return start
