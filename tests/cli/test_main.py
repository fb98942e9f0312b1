"""The command as a whole: help, version, wrong commands, nothing heavy at the start."""

from __future__ import annotations

import json
import subprocess
import sys

from pixelsleuth.cli.main import COMMANDS
from pixelsleuth.models import registry

HEAVY = ("numpy", "PIL", "onnxruntime", "rich", "jinja2", "torch", "skimage")


def test_help_lists_every_command_with_a_line(cli):
    result = cli("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


def test_help_of_check_states_the_exit_status(cli):
    assert "Exit status: 0 every picture was judged" in cli("check", "--help").stdout


def test_version(cli):
    from pixelsleuth import __version__

    assert cli("--version").stdout == f"pixelsleuth {__version__}\n"


def test_a_wrong_command_gets_a_suggestion(cli):
    result = cli("chek", "photo.jpg")
    assert result.exit_code == 2
    assert "did you mean 'check'?" in result.stderr


def test_a_picture_in_the_place_of_a_command_gets_the_right_call(cli):
    result = cli("photo.jpg")
    assert result.exit_code == 2
    assert "check PICTURE" in result.stderr


def test_help_imports_nothing_heavy(shell):
    code = (
        "import sys\n"
        "from pixelsleuth.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stderr.strip() == "[]"


def test_models_lists_the_bundled_detector(cli):
    result = cli("models")
    assert result.exit_code == 0
    assert "compact" in result.stdout
    assert "12.0 k" in result.stdout


def test_models_says_how_to_install_what_is_missing(cli):
    spec = registry.ModelSpec(
        name="big", factory="x:y", summary="Big.", extra="vlm", packages=("no_such_package",)
    )
    registry.register(spec)
    assert "Needs, in a clone: pip install '.[vlm]'" in cli("models").stdout


def test_models_as_json(cli):
    known = {model["name"]: model for model in json.loads(cli("models", "--format", "json").stdout)}
    assert known["compact"]["capabilities"] == ["detect", "localize", "explain"]
    assert known["compact"]["download_bytes"] == 0
    assert set(known["fake"]) == {
        *(
            "name",
            "summary",
            "parameters",
            "download_bytes",
            "memory_bytes",
            "capabilities",
            "licence",
            "extra",
        ),
        *("installed", "ready", "where", "revision", "fetched_by"),
    }
