"""What is published: completion, manual pages, packages that can be built again, and what stops a release."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.shell_completion import ShellComplete

from pixelsleuth.cli.completion import Offered, prepare
from pixelsleuth.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]


def script(path: str) -> ModuleType:
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def completions(*words: str) -> list[tuple[str, str]]:
    """(kind, value) of what a shell offers for the last of these words."""
    items = ShellComplete(main, {}, "pixelsleuth", "_PIXELSLEUTH_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )
    return [(item.type, item.value) for item in items]


def test_a_shell_completes_commands_detectors_data_sets_and_files() -> None:
    assert completions("che") == [("plain", "check")]
    assert ("plain", "--version") in completions("--")
    assert completions("check", "--model", "com") == [("plain", "compact"), ("plain", "commfor")]
    assert completions("check", "--model", "runs/my") == [("file", "runs/my")]
    assert completions("models", "get", "np") == [("plain", "npr")]
    assert ("plain", "sid_set") in completions("evaluate", "--reader", "si")
    assert completions("check", "pho") == [("file", "pho")]
    assert completions("check", "--save-masks", "m") == [("dir", "m")]
    assert completions("train", "recipes/t") == [("file", "recipes/t")]
    assert completions("evaluate", "--weights", "w") == [("file", "w")]


FILES = ("FILE", "DIR", "PATH", "IMAGE", "MANIFEST", "DATA", "FOLDER", "CONFIG")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_that_takes_a_file_completes_one(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    silent = []
    for each in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
        types = {parameter.name: parameter.type for parameter in each.params}
        prepare(each, name)
        for parameter in each.params:
            named = any(word in (parameter.metavar or "") for word in FILES)
            if named and not isinstance(parameter.type, click.Path | Offered):
                silent.append((each.name, parameter.name))
            parameter.type = types[parameter.name]  # the command is shared with other tests
    assert not silent


def test_completion_loads_no_numpy() -> None:
    words = {"COMP_WORDS": "pixelsleuth check --model com", "COMP_CWORD": "3"}
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('numpy' in sys.modules, file=sys.stderr))\n"
        "from pixelsleuth.cli.main import main\n"
        "main(prog_name='pixelsleuth')"
    )
    environment = os.environ | words | {"_PIXELSLEUTH_COMPLETE": "bash_complete"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["plain,compact", "plain,commfor"]
    assert done.stderr.strip() == "False"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_script_for_bash_is_one_that_bash_reads() -> None:
    from click.testing import CliRunner

    text = CliRunner().invoke(main, ["completion", "bash"]).stdout
    assert "_PIXELSLEUTH_COMPLETE" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_there_is_a_manual_page_for_every_command_with_all_its_options(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build hook is hatchling's: run `make setup`")
    pages = script("hatch_build.py").write_pages(ROOT, tmp_path, "1.2.3")
    names = {page.name for page in pages}
    assert {f"pixelsleuth-{name}.1" for name in COMMANDS} | {
        "pixelsleuth.1",
        "pixelsleuth-models-get.1",
    } <= names
    text = (tmp_path / "pixelsleuth-check.1").read_text(encoding="utf-8").replace("\\-", "-")
    command = main.get_command(click.Context(main), "check")
    assert command is not None
    shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    assert all(option in text for parameter in shown for option in parameter.opts)
    assert "pixelsleuth 1.2.3" in text
    if shutil.which("groff"):
        groff = ["groff", "-man", "-Tutf8", "-ww", *map(str, pages)]
        done = subprocess.run(groff, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: run `make setup`")
    sums = set()
    for place in ("first", "second"):
        command = ["-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / place)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1764000000"}
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True, env=environment)
        (wheel,) = (tmp_path / place).glob("*.whl")
        sums.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(sums) == 1


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository that may be released as 1.2.3."""
    files = {
        "pyproject.toml": '[project]\nname = "pixelsleuth"\nversion = "1.2.3"\n',
        "src/pixelsleuth/_version.py": '__version__ = "1.2.3"\n',
        "CITATION.cff": "cff-version: 1.2.0\nversion: 1.2.3\n",
        "CHANGELOG.md": "# Changelog\n\n## 1.2.3 (2026-11-29)\n\n* One thing.\n\n## 1.2.2 (2026-01-01)\n\n* Another.\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "All"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize(
    "path, old, new, reason",
    [
        ("CHANGELOG.md", "", "", None),
        ("CHANGELOG.md", "## 1.2.3 (2026-11-29)", "## Next", "has no section '## 1.2.3"),
        ("CHANGELOG.md", "(2026-11-29)", "(unreleased)", "calls 1.2.3 'unreleased'"),
        ("CHANGELOG.md", "* One thing.\n", "", "says nothing"),
        ("src/pixelsleuth/_version.py", "1.2.3", "1.2.4", "_version.py does not say 1.2.3"),
        ("CITATION.cff", "version: 1.2.3", "version: 1.2.2", "CITATION.cff does not say 1.2.3"),
    ],
)
def test_a_release_is_refused_for_a_reason(
    repository: Path, path: str, old: str, new: str, reason: str | None
) -> None:
    release = script("tools/release.py")
    text = (repository / path).read_text(encoding="utf-8")
    (repository / path).write_text(text.replace(old, new) if old else text, encoding="utf-8")
    reasons = release.refusals(repository)
    if reason is None:
        assert not reasons
    else:
        assert "changes that are not committed" in reasons[0]
        assert reason in reasons[1]
        assert len(reasons) == 2


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_tagged_version_and_another_branch_are_refused(repository: Path) -> None:
    release = script("tools/release.py")
    subprocess.run(["git", "tag", "v1.2.3"], cwd=repository, check=True)
    subprocess.run(["git", "checkout", "-q", "-b", "side"], cwd=repository, check=True)
    first, second = release.refusals(repository)
    assert "this is side" in first
    assert "v1.2.3 is tagged already" in second


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_folder_that_is_no_clone_is_refused_in_one_sentence(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    (reason,) = script("tools/release.py").refusals(repository)
    assert "made of a clone" in reason


@pytest.mark.skipif(shutil.which("make") is None or shutil.which("git") is None, reason="needs make and git")
def test_a_refused_release_installs_and_changes_nothing(repository: Path) -> None:
    (repository / "tools").mkdir()
    for name in ("Makefile", "tools/release.py", "tools/dist.py"):
        shutil.copy(ROOT / name, repository / name)
    (repository / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    before = sorted(path.name for path in repository.iterdir())
    command = ["make", f"PYTHON={sys.executable}", "release", "TAG=--tag"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode
    assert "This is no release:\nThe tree has changes" in done.stderr
    assert sorted(path.name for path in repository.iterdir()) == before
    assert not subprocess.run(["git", "tag"], cwd=repository, capture_output=True, text=True).stdout


def test_the_citation_names_this_version_and_the_works_that_it_builds_on() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    from pixelsleuth import __version__

    assert citation["version"] == __version__
    identifiers = [entry["value"] for work in citation["references"] for entry in work["identifiers"]]
    assert identifiers == ["arXiv:2412.04292", "arXiv:2505.18660", "arXiv:2503.14905"]
    assert json.dumps(citation)  # no dates or other values that other readers of YAML would type differently


def test_a_mutant_differs_in_one_operator_number_or_truth_value() -> None:
    mutants = script("tools/mutants.py")
    tree = ast.parse("LIMIT = 3\n\ndef f(a):\n    return not (a < 2 and a + 1 != 5) or True")
    bodies = [
        ast.unparse(mutants.changed(tree, *site[1:3])).splitlines()[-1].strip()
        for site in mutants.sites(tree)
    ]
    assert set(bodies) == {
        "return not (a < 2 and a + 1 != 5) and True",
        "return not not (a < 2 and a + 1 != 5) or True",
        "return not (a < 2 or a + 1 != 5) or True",
        "return not (a < 2 and a + 1 != 5) or False",
        "return not (a <= 2 and a + 1 != 5) or True",
        "return not (a < 2 and a + 1 == 5) or True",
        "return not (a < 3 and a + 1 != 5) or True",
        "return not (a < 2 and a - 1 != 5) or True",
        "return not (a < 2 and a + 1 != 6) or True",
        "return not (a < 2 and a + 2 != 5) or True",
    }
    assert ast.unparse(tree).splitlines()[-1].strip() == "return not (a < 2 and a + 1 != 5) or True"


def test_every_module_that_is_mutated_and_its_tests_exist() -> None:
    for target, tests in script("tools/mutants.py").TARGETS.items():
        assert (ROOT / "src" / "pixelsleuth" / f"{target}.py").is_file()
        assert all((ROOT / test).is_file() for test in tests)


def test_lines_that_ran_are_counted_by_room() -> None:
    files = {
        "src/pixelsleuth/core/rle.py": {"summary": {"covered_lines": 3, "num_statements": 4}},
        "src/pixelsleuth/core/names.py": {"summary": {"covered_lines": 1, "num_statements": 1}},
        "src/pixelsleuth/errors.py": {"summary": {"covered_lines": 0, "num_statements": 2}},
    }
    assert script("tools/rooms.py").shares({"files": files}) == {"core": (4, 5), "(top)": (0, 2)}
