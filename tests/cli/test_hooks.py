"""Pictures stopped on their way into a repository: --fail-on, the pre-commit hooks, the GitHub Action's own step."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import Result
from PIL import Image
from PIL.PngImagePlugin import PngInfo

ROOT = Path(__file__).parents[2]
Cli = Callable[..., Result]


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """A picture whose metadata say that a generator made it."""
    info = PngInfo()
    info.add_text(
        "parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, Model: sd15"
    )
    path = tmp_path / "declared.png"
    noise = np.random.default_rng(0).integers(90, 200, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize("named, names, status", [
    ("tampered", ["tampered.png", "real.png"], 3),
    ("full_synthetic,tampered", ["fake.png"], 3),
    ("full_synthetic, tampered", ["real.png", "thin.png"], 0),
    ("tampered", ["fake.png"], 0),
    ("inconclusive", ["thin.png"], 3),
    ("tampered", ["missing.png", "real.png"], 1),
    ("tampered", ["missing.png", "tampered.png"], 3),
])  # fmt: skip
def test_check_ends_with_status_3_where_a_conclusive_verdict_is_named(
    cli: Cli, pictures: Path, named: str, names: list[str], status: int
) -> None:
    result = cli("check", *(pictures / name for name in names), "--format", "jsonl", "--fail-on", named)
    assert result.exit_code == status
    assert len(result.stdout.splitlines()) == len(names)


def test_a_resumed_run_counts_what_was_judged_before(cli: Cli, pictures: Path, tmp_path: Path) -> None:
    arguments = ("check", pictures, "--format", "jsonl", "--output", tmp_path / "v.jsonl", "--resume")
    assert cli(*arguments).exit_code == 0
    assert cli(*arguments, "--fail-on", "tampered").exit_code == 3


@pytest.mark.parametrize("command", ["check", "inspect"])
def test_an_unknown_name_is_refused_with_the_known_ones(cli: Cli, pictures: Path, command: str) -> None:
    result = cli(command, pictures, "--fail-on", "fake")
    assert result.exit_code == 2
    assert "'fake' is none of" in result.output


def test_inspect_ends_with_status_3_where_a_file_declares_what_is_named(
    cli: Cli, pictures: Path, declared: Path
) -> None:
    assert cli("inspect", declared, "--fail-on", "generated,edited_by_ai").exit_code == 3
    assert cli("inspect", declared, "--fail-on", "edited_by_ai").exit_code == 0
    assert cli("inspect", pictures / "fake.png", "--fail-on", "generated").exit_code == 0
    listed = f"{pictures / 'real.png'}\0{declared}\0".encode()
    assert cli("inspect", "-", "--fail-on", "generated", stdin=listed).exit_code == 3


@pytest.mark.parametrize("hook", yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")),
                         ids=lambda hook: hook["id"])  # fmt: skip
def test_a_hook_stops_only_what_it_is_for_and_takes_any_file_name(
    cli: Cli, pictures: Path, declared: Path, hook: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*shlex.split(hook["entry"]), *hook["args"]]
    assert command[0] == "pixelsleuth"
    monkeypatch.chdir(pictures)
    run = lambda *names: cli(*[*(["check", "--model", "fake"] if command[1] == "check" else ["inspect"]),  # noqa: E731
                               *command[2:], *names]).exit_code  # fmt: skip
    shutil.copy("real.png", "--report=page.png")
    assert run("real.png", "thin.png", "--report=page.png") == 0
    assert Path("--report=page.png").read_bytes() == Path("real.png").read_bytes()
    assert not Path("page.png").exists()
    stopped = declared if command[1] == "inspect" else Path("tampered.png")
    assert run("real.png", str(stopped)) == 3


HOSTILE = [
    "plain.png", "two words.png", "--report=x.png", "line\nbreak.png", "$(touch pwned).png", "`touch pwned`.png",
    "a'\"b.png", "::error::x.png", "folder/deep/;rm -rf x.JPG", "| a | b |.png", "@somebody <img src=x>.png", "*.png",
    "caf\udce9.png",
]  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    """A repository whose last commit adds pictures with hostile names, and the commit before it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(90, 200, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "old.png")
    (folder / "notes.txt").write_text("no picture")
    git(folder, "init", "-q", ".")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "before")
    base = git(folder, "rev-parse", "HEAD")
    tampered = noise.copy()
    tampered[5:20, 5:20] = (255, 0, 255)
    for name in HOSTILE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tampered if name == "plain.png" else noise).save(folder / name, "PNG")
    (folder / "broken.gif").write_bytes(b"no picture")
    (folder / "link.png").symlink_to("/etc/passwd")
    (folder / "pixelsleuth.py").write_text("raise SystemExit('code of a stranger ran')")
    (folder / "notes.txt").write_text("changed")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "after")
    return folder, base


def judge(repository: Path, tmp_path: Path, **inputs: str) -> tuple[int, str, dict[str, str], Path]:
    """Exit status, log, outputs and folder of the action's step, run as GitHub runs it."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    runner = tmp_path / "runner"
    runner.mkdir(exist_ok=True)
    output, summary = runner / "output", runner / "summary"
    output.write_text("")
    program = tmp_path / "program"
    program.write_text(
        '#!/bin/sh\n[ "$4" = check ] && shift 4 && set -- -P -m pixelsleuth check --model fake_detector:load "$@"\n'
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    program.chmod(0o755)
    environment = {
        "SLEUTH_COMMAND": "check", "SLEUTH_FAIL_ON": "", "SLEUTH_BASE": "", "SLEUTH_PROGRAM": str(program),
        "SLEUTH_FOLDER": str(runner / "out"), "RUNNER_TEMP": str(runner), "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests' / 'fakes'}",
    } | inputs  # fmt: skip
    done = subprocess.run(
        ["bash", str(ROOT / ".github" / "action" / "judge.sh")],
        cwd=repository, env={**os.environ, **environment}, capture_output=True, timeout=200,
    )  # fmt: skip
    values = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"), values, runner / "out"


def test_the_action_judges_every_changed_picture_whatever_its_name(
    repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, base = repository
    before = sorted(folder.iterdir())
    status, log, values, out = judge(
        folder, tmp_path, SLEUTH_BASE=base, SLEUTH_FAIL_ON="full_synthetic,tampered"
    )
    assert status == 2, log
    assert "::error::A picture is what fail-on names" in log
    assert (values["pictures"], values["status"]) == (str(len(HOSTILE) + 1), "3")
    records = [json.loads(line) for line in (out / "records.jsonl").read_text("utf-8").splitlines()]
    expected = {f"./{name.encode('utf-8', 'backslashreplace').decode()}" for name in [*HOSTILE, "broken.gif"]}
    assert {record["source"] for record in records} == expected
    assert "code of a stranger" not in log
    assert sorted(folder.iterdir()) == before  # nothing was run, nothing was written
    assert (out / "report.html").is_file()
    # Every line that the pictures can influence stands where the runner takes no commands.
    token = re.search(r"^::stop-commands::([0-9a-f]{32})$", log, re.MULTILINE)
    assert token is not None
    assert f"::{token[1]}::" in log


def test_the_summary_is_a_table_that_no_file_name_breaks(
    repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, base = repository
    _, _, _, out = judge(folder, tmp_path, SLEUTH_BASE=base)
    lines = (out / "summary.md").read_text("utf-8").splitlines()
    assert (tmp_path / "runner" / "summary").read_text("utf-8").splitlines() == lines
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) == len(HOSTILE) + 1
    assert all(row.count("|") == 4 for row in rows)
    assert all(row.count("`") == 2 for row in rows)
    assert "| `plain.png` | Tampered | nothing |" in rows
    (broken,) = [row for row in rows if "broken.gif" in row]
    assert "Not judged: " in broken
    assert "<img" not in "".join(re.sub(r"`[^`]*`", "", row) for row in rows)


def test_the_action_inspects_without_a_model(
    repository: tuple[Path, str], declared: Path, tmp_path: Path
) -> None:
    folder, _ = repository
    base = git(folder, "rev-parse", "HEAD")
    shutil.copy(declared, folder / "new.png")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one more")
    inputs = {"SLEUTH_BASE": base, "SLEUTH_COMMAND": "inspect"}
    status, log, values, out = judge(folder, tmp_path, **inputs, SLEUTH_FAIL_ON="generated")
    assert (status, values) == (2, {"pictures": "1", "folder": str(out), "status": "3"}), log
    (row,) = [line for line in (out / "summary.md").read_text("utf-8").splitlines() if "new.png" in line]
    assert "not asked for" in row
    assert "declares" in row
    status, log, _, _ = judge(folder, tmp_path, **inputs)
    assert status == 0, log


def test_no_changed_picture_passes_without_starting_anything(
    repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = repository
    head = git(folder, "rev-parse", "HEAD")
    status, log, values, out = judge(folder, tmp_path, SLEUTH_BASE=head)
    assert (status, values["pictures"]) == (0, "0"), log
    assert "No picture was added or changed." in (out / "summary.md").read_text("utf-8")


@pytest.mark.parametrize("inputs, sentence", [
    ({"SLEUTH_COMMAND": "check; touch pwned"}, "neither check nor inspect"),
    ({"SLEUTH_FAIL_ON": "$(touch pwned)"}, "more than names and commas"),
    ({"SLEUTH_FAIL_ON": "--report"}, "more than names and commas"),
    ({"SLEUTH_BASE": "--output=pwned"}, "no full commit hash"),
    ({"SLEUTH_BASE": ""}, "no full commit hash"),
    ({"SLEUTH_BASE": "1" * 40}, "fetch-depth: 0"),
])  # fmt: skip
def test_an_input_that_is_none_is_refused_before_anything_runs(
    repository: tuple[Path, str], tmp_path: Path, inputs: dict[str, str], sentence: str
) -> None:
    folder, base = repository
    status, log, values, _ = judge(folder, tmp_path, **({"SLEUTH_BASE": base} | inputs))
    assert status == 2
    assert sentence in log
    assert not values
    assert not (folder / "pwned").exists()


def test_what_is_installed_for_hooks_and_action_reads_content_credentials() -> None:
    (inspect, _) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert inspect["additional_dependencies"] == extras["provenance"]
    assert '"$GITHUB_ACTION_PATH[provenance]"' in (ROOT / "action.yml").read_text("utf-8")


def test_no_value_of_the_workflow_becomes_part_of_a_command_of_the_action() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    steps = action["runs"]["steps"]
    assert all("${{" not in step.get("run", "") for step in steps)
    used = set(re.findall(r"inputs\.([a-z-]+)", json.dumps(action["runs"])))
    assert used == set(action["inputs"])
    script = (ROOT / ".github" / "action" / "judge.sh").read_text("utf-8")
    given = {name for step in steps for name in step.get("env", {})}
    assert set(re.findall(r"SLEUTH_[A-Z_]+", script)) <= given
