"""`evaluate` and `forge` give the same files with Ray as in one process, whatever dies on the way."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scale_tools import FAKES, write_pictures

from pixelsleuth.forge.stages import Stage, read_rows, run_stage
from pixelsleuth.scale.cluster import ClusterSettings
from pixelsleuth.scale.engine import RayEngine
from pixelsleuth.scale.sessions import connected

pytest.importorskip("sklearn", reason="evaluate: install the extra eval")
pytest.importorskip("cv2", reason="evaluate and forge: install the extras eval and forge")
# Not imported here: the engine says who may enter a session before Ray is imported.
if importlib.util.find_spec("ray") is None:
    pytest.skip("the Ray engine: install the extra scale", allow_module_level=True)
RECIPE = Path(__file__).parents[2] / "recipes" / "forge" / "local.yaml"
RAY = ("--engine", "ray", "--actors", 2)
Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One session for the tests of this file. The file says how often the stand-ins still end their process."""
    counter = tmp_path_factory.mktemp("kills") / "kills"
    counter.write_text("0")
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(FAKES), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("PIXELSLEUTH_TEST_KILLS", str(counter))
        with connected(None):
            yield counter


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `pixelsleuth ARGUMENTS` in this process."""
    from pixelsleuth.cli.main import main
    from pixelsleuth.evaluation.report import metrics_page

    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setattr(metrics_page, "plots_of", lambda result: [])  # they take seconds
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def labelled(folder: Path) -> Path:
    """A manifest of 12 pictures with masks; one is broken, one ends the detector in an error."""
    pictures = write_pictures(folder, 12)
    mask = np.zeros((24, 32), np.uint8)
    mask[4:12, 6:20] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    rows = []
    for number, path in enumerate(pictures):
        label = ("real", "full_synthetic", "tampered")[number % 3]
        rows.append(
            [path.relative_to(folder), label, "mask.png" if number % 3 == 2 else "", f"g{number % 4}"]
        )
    pictures[4].write_bytes(b"no picture")
    fault = np.asarray(Image.open(pictures[7])).copy()
    fault[0, 0] = (1, 2, 3)
    Image.fromarray(fault).save(pictures[7])
    with (folder / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "label", "mask", "group"], *rows])
    return folder / "manifest.csv"


def untimed(folder: Path) -> list[str]:
    """The lines of predictions.jsonl, in order, without the times."""
    lines = []
    for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        row.pop("elapsed_ms", None)
        lines.append(json.dumps(row))
    return lines


def bytes_of(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder, by its path."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_an_evaluation_on_ray_gives_the_files_of_one_process_also_where_an_actor_dies(
    kills: Path, cli: Cli, tmp_path: Path
) -> None:
    data = labelled(tmp_path / "data")

    def evaluate(out: str, *more: object) -> Path:
        result = cli(
            "evaluate", "--model", "eval_detectors:load", "--data", data, "--out", tmp_path / out,
            "--perturb", "jpeg:70", "--batch-size", 2, "--raw", "--save-maps", "--resamples", 20, "--no-audit", *more,
        )  # fmt: skip
        assert result.exit_code == 1, result.output  # two pictures have errors
        return tmp_path / out

    local = evaluate("local")
    kills.write_text("1")
    ray = evaluate("ray", *RAY)
    assert kills.read_text() == "0"
    assert untimed(ray) == untimed(local)
    assert len(untimed(ray)) == 1 + 2 * 12
    assert (ray / "metrics.json").read_bytes() == (local / "metrics.json").read_bytes()
    assert bytes_of(ray / "maps") == bytes_of(local / "maps")
    assert sorted(file.name for file in ray.iterdir()) == sorted(file.name for file in local.iterdir())


@pytest.mark.thorough  # five stages, each with actors of its own
@pytest.mark.timeout(900)
def test_a_forge_on_ray_gives_the_files_of_one_process(kills: Path, cli: Cli, tmp_path: Path) -> None:
    del kills
    photographs = write_pictures(tmp_path / "photographs", 9)
    photographs[3].write_bytes(b"no picture")
    words = [
        RECIPE,
        f"photographs={tmp_path / 'photographs'}",
        "workers=1",
        "masks.smallest=0.001",
        "--quiet",
    ]
    for out, options in (("local", ()), ("ray", RAY)):
        result = cli("forge", *words, f"out={tmp_path / out}", *options)
        assert result.exit_code == 0, result.output
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "local")
    assert len(list(read_rows(tmp_path / "ray" / "dataset" / "records.jsonl"))) >= 4


@pytest.mark.thorough  # a session of Ray; evaluate has the same case
def test_lines_of_an_actor_that_dies_are_done_by_another(
    kills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FAKES))
    from forge_work import Folder, deadly

    from pixelsleuth.forge.engines import by_engine

    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"id": f"n{n}", "number": n}) + "\n" for n in range(6)))
    kills.write_text("1")
    context: Any = Folder(tmp_path)
    with RayEngine(cluster=ClusterSettings(actors=2)) as engine:

        def elsewhere(stage: Stage, source: Path, done: Any) -> Iterator[tuple[str, Any]]:
            return by_engine(engine, context, stage, source, done)

        made = run_stage(
            Stage("twice", deadly),
            source,
            tmp_path,
            context,
            workers=1,
            say=print,
            quiet=True,
            elsewhere=elsewhere,
        )
    assert kills.read_text() == "0"
    assert [row.get("double") for row in read_rows(made)] == [0, 2, None, 6, 8, 10]
    assert [row["id"] for row in read_rows(made) if "error" in row] == ["n2"]


@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["evaluate", "forge"])
def test_a_command_on_ray_that_is_killed_is_finished_by_one_process(
    name: str, kills: Path, cli: Cli, tmp_path: Path
) -> None:
    del kills
    data = labelled(tmp_path / "data")
    if name == "evaluate":
        words = ["evaluate", "--model", "scale_stub:quick", "--data", data, "--batch-size", 1, "--no-audit"]
        words += ["--resamples", 20, "--out"]
        log, place = "predictions.jsonl", ""
    else:
        words = ["forge", RECIPE, f"photographs={tmp_path / 'data'}", "workers=1", "masks.smallest=0.001"]
        log, place = "inspected.part.jsonl", "out="

    def command(out: str) -> list[str]:
        return [*map(str, words), f"{place}{tmp_path / out}"]

    process = subprocess.Popen(
        [sys.executable, "-m", "pixelsleuth", *command("killed"), *map(str, RAY)],
        env=os.environ | {"STUB_SECONDS": "0.3"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    journal, deadline = tmp_path / "killed" / log, time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if journal.is_file() and journal.read_bytes().count(b"\n") > 3:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / ("metrics.json" if name == "evaluate" else "dataset")).exists()
    for out in ("killed", "whole"):
        assert cli(*command(out)).exit_code in (0, 1)
    if name == "evaluate":
        assert untimed(tmp_path / "killed") == untimed(tmp_path / "whole")
        same = [(tmp_path / out / "metrics.json").read_bytes() for out in ("killed", "whole")]
        assert same[0] == same[1]
    else:
        assert bytes_of(tmp_path / "killed" / "dataset") == bytes_of(tmp_path / "whole" / "dataset")


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--model", "eval_detectors:load", "--data", "DATA", "--out", "OUT"),
        ("forge", RECIPE, "photographs=PICTURES", "out=OUT"),
    ],
    ids=["evaluate", "forge"],
)
def test_a_wrong_address_and_a_missing_extra_are_said_in_one_sentence(
    command: tuple[object, ...], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    places = {"DATA": labelled(tmp_path / "data"), "PICTURES": tmp_path / "data", "OUT": tmp_path / "out"}
    words = []
    for word in map(str, command):
        for name, place in places.items():
            word = word.replace(name, str(place))
        words.append(word)

    def refused(*options: object) -> str:
        result = cli(*words, *options)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        return result.output.strip().splitlines()[-1]

    assert "There is no Ray cluster at 127.0.0.1:1" in refused("--engine", "ray", "--address", "127.0.0.1:1")
    assert "go with --engine ray" in refused("--actors", 2)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "ray is not installed" in refused("--engine", "ray")
