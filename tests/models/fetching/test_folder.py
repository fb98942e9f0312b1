"""`models get --from`: a folder of files, a mirror, another machine's store, the hub's cache, a plain web page; and
what `check` and `models` make of what is in the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from pixelsleuth.errors import UsageError
from pixelsleuth.models import registry, store
from pixelsleuth.models.facts import Origin, Remote

from .conftest import COMMIT, PINNED, REPOSITORY, WEIGHTS, Hub, publish

Get = Callable[..., Result]


def run(*words: str) -> Result:
    from pixelsleuth.cli.main import main

    return CliRunner().invoke(main, list(words))


def put(path: Path, content: bytes = WEIGHTS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "place",
    [
        "weights.bin",
        f"{REPOSITORY}/weights.bin",
        "commfor/weights.bin",
        "models/commfor/weights.bin",
        f"models--owner--detector/snapshots/{COMMIT}/weights.bin",
    ],
)
def test_a_folder_may_hold_the_file_in_any_usual_place(tmp_path: Path, get: Get, place: str) -> None:
    put(tmp_path / "usb" / place)
    result = get("commfor", "--from", tmp_path / "usb")
    assert result.exit_code == 0, result.output
    entry = store.ready("commfor")
    assert entry is not None
    assert entry.files == {"weights.bin": store.Stored(PINNED.sha256, len(WEIGHTS), "pinned")}
    assert entry.revision == COMMIT
    assert entry.source == str(tmp_path / "usb")


def test_files_of_a_repository_s_folders_are_kept_without_them(
    tmp_path: Path, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Remote("checkpoint/a/weights.bin", PINNED.sha256, PINNED.size)
    publish(monkeypatch, "commfor", Origin(REPOSITORY, COMMIT, (file,), host="github"))
    put(tmp_path / "usb" / REPOSITORY / file.path)
    assert get("commfor", "--from", tmp_path / "usb").exit_code == 0
    assert (store.folder("commfor") / "weights.bin").is_file()


def test_another_machine_s_store_vouches_for_what_it_holds(
    tmp_path: Path, get: Get, home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get("pscc_net").exit_code == 0
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(tmp_path / "other"))
    assert get("pscc_net", "--from", home).exit_code == 0
    entry = store.ready("pscc_net")
    assert entry is not None
    assert entry.files["weights.bin"].checked == "server"
    assert entry.revision == COMMIT
    (home / "models/pscc_net/weights.bin").write_bytes(WEIGHTS[::-1])
    result = get("pscc_net", "--from", home, "--force")
    assert result.exit_code == 2
    assert "not what it should be" in result.stderr


def test_where_nobody_states_a_hash_the_first_one_is_written_down(tmp_path: Path, get: Get) -> None:
    put(tmp_path / "usb/weights.bin")
    result = get("pscc_net", "--from", tmp_path / "usb")
    assert "nobody states one" in result.stdout
    entry = store.ready("pscc_net")
    assert entry is not None
    assert entry.files["weights.bin"].checked == "first use"
    assert entry.revision == ""


def test_other_bytes_than_the_published_ones_are_taken_only_as_one_s_own(tmp_path: Path, get: Get) -> None:
    put(tmp_path / "usb/weights.bin", b"own weights")
    result = get("commfor", "--from", tmp_path / "usb")
    assert result.exit_code == 2
    assert store.ready("commfor") is None
    assert get("commfor", "--own-weights").exit_code == 2  # of whom?
    assert get("commfor", "--from", tmp_path / "usb", "--own-weights").exit_code == 0
    entry = store.ready("commfor")
    assert entry is not None
    assert (entry.revision, entry.licence) == ("", "the user's own weights")
    assert entry.files["weights.bin"].checked == "first use"


def test_a_whole_checkpoint_comes_out_of_a_folder_with_what_it_stands_on(
    tmp_path: Path, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = Origin("owner/tower", folder="owner/tower")
    publish(monkeypatch, "lisa", Origin(REPOSITORY), tower)
    for place in (REPOSITORY, "owner/tower"):
        for name in ("config.json", "model.safetensors", "model.py", "notes.md"):
            put(tmp_path / "mirror" / place / name, name.encode())
    assert get("lisa", "--from", tmp_path / "mirror", "--accept-licence").exit_code == 0
    entry = store.ready("lisa")
    assert entry is not None
    assert set(entry.files) == {
        *("config.json", "model.safetensors", "owner/tower/config.json", "owner/tower/model.safetensors"),
    }


def test_what_a_folder_lacks_is_told(tmp_path: Path, get: Get) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("commfor", "lisa"):
        result = get(name, "--from", tmp_path / "empty", "--accept-licence")
        assert result.exit_code == 2
        assert REPOSITORY in result.stderr
    result = get("commfor", "--from", tmp_path / "nowhere")
    assert "is no folder" in result.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_a_folder_does_not_hang(tmp_path: Path, get: Get) -> None:
    (tmp_path / "usb").mkdir()
    os.mkfifo(tmp_path / "usb/weights.bin")
    assert get("commfor", "--from", tmp_path / "usb").exit_code == 2


@pytest.mark.parametrize("place", [f"{REPOSITORY}/weights.bin", "weights.bin"])
@pytest.mark.parametrize("name", ["commfor", "pscc_net"])
def test_a_plain_web_page_will_do_as_a_mirror(hub: Hub, get: Get, name: str, place: str) -> None:
    hub.speaks, hub.files = False, {place: WEIGHTS}
    assert get(name, "--from", hub.url).exit_code == 0
    entry = store.ready(name)
    assert entry is not None
    assert entry.source == hub.url


def test_fetching_needs_no_extra(tmp_path: Path, hub: Hub) -> None:
    """Not even numpy: the standard library, click and nothing else."""
    origins = (Origin(REPOSITORY, COMMIT, (PINNED,)),)
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'numpy', 'huggingface_hub', 'requests', 'onnxruntime'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from dataclasses import replace\n"
        "from pixelsleuth.models import catalogue, registry\n"
        "from pixelsleuth.models.facts import Origin, Remote\n"
        f"registry.register(replace(catalogue.spec_of('commfor'), origins={origins!r}))\n"
        "from pixelsleuth.cli.main import main\n"
        "main(['models', 'get', 'commfor'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert store.ready("commfor") is not None


def test_a_baseline_takes_its_weights_from_the_store(hub: Hub, get: Get) -> None:
    spec = next(spec for spec in registry.specs() if spec.name == "commfor")
    assert spec.facts is not None
    with pytest.raises(UsageError, match="pixelsleuth models get commfor"):
        registry.weights_at(spec.facts, None, spec)
    get("commfor")
    assert registry.weights_at(spec.facts, None, spec) == str(store.folder("commfor") / "weights.bin")
    named = str(store.home())
    assert registry.weights_at(spec.facts, named, spec) == named  # --weights goes first


def test_a_large_model_is_loaded_from_the_store_where_it_is_there(
    hub: Hub, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["model.safetensors"] = WEIGHTS
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    stand_in = ModuleType("tests_stand_in")
    stand_in.load = lambda name, device: name  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests_stand_in", stand_in)
    spec = registry.ModelSpec(
        "big",
        "tests_stand_in:load",
        "For tests.",
        arguments=("owner/detector",),
        origins=(Origin(REPOSITORY),),
    )
    registry.register(spec)
    assert registry.load("big") == "owner/detector"  # the hub's, at first use
    assert get("big", "--accept-licence").exit_code == 0
    assert registry.load("big") == str(store.folder("big"))


def test_the_listing_begins_with_what_is_ready_and_says_where_it_lies(hub: Hub, get: Get) -> None:
    before = {entry["name"]: entry for entry in json.loads(run("models", "--format", "json").stdout)}
    assert before["compact"]["ready"]
    assert (before["commfor"]["ready"], before["commfor"]["where"]) == (False, None)
    get("commfor")
    after = json.loads(run("models", "--format", "json").stdout)
    commfor = {entry["name"]: entry for entry in after}["commfor"]
    assert commfor["where"] == str(store.folder("commfor"))
    assert commfor["revision"] == COMMIT
    assert commfor["fetched_by"] == "pixelsleuth models get commfor"
    readiness = [entry["ready"] for entry in after]
    assert readiness == sorted(readiness, reverse=True)


def test_names_stay_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("pixelsleuth.reporting.terminal._width", lambda stream: 80)
    table = run("models").stdout.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert {spec.name for spec in registry.specs()} <= {line.split(" ")[0] for line in table}


def test_damaged_weights_are_told_by_the_listing_and_by_check(hub: Hub, get: Get, tmp_path: Path) -> None:
    get("commfor")
    (store.folder("commfor") / "weights.bin").write_bytes(b"")
    listed = run("models")
    assert listed.exit_code == 0
    assert "run: pixelsleuth models get commfor --force" in listed.stdout
    commfor = {entry["name"]: entry for entry in json.loads(run("models", "--format", "json").stdout)}[
        "commfor"
    ]
    assert not commfor["ready"]
    with pytest.raises(UsageError, match="--force"):
        registry.load("commfor")


def test_remove_frees_what_get_brought(hub: Hub, get: Get) -> None:
    get("commfor")
    result = run("models", "remove", "commfor")
    assert result.exit_code == 0
    assert "3.0 MB" in result.stdout
    assert store.ready("commfor") is None
    hub.cuts = [800_000, 0, 0, 0]
    get("commfor")
    assert run("models", "remove", "commfor").exit_code == 0  # what was begun, too
    assert run("models", "remove", "commfor").exit_code == 2
    assert run("models", "remove", "../commfor").exit_code == 2
