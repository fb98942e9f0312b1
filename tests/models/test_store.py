"""The store of weights: what is ready is whole, and nothing in it leads out of its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelsleuth.errors import DamagedWeights, UsageError
from pixelsleuth.models import store

CONTENT = b"weights"
Manifest = dict[str, Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def put(name: str = "npr", file_name: str = "NPR.pth", content: bytes = CONTENT) -> store.Entry:
    place = store.folder(name)
    path = place / file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    stored = store.Stored(hashlib.sha256(content).hexdigest(), len(content), "pinned")
    entry = store.Entry(name, place, {file_name: stored}, "0" * 40, "MIT", "https://hub.test/owner/name")
    store.write(entry)
    return entry


def test_what_was_written_is_ready_and_comes_back_whole() -> None:
    assert store.ready("npr") is None
    entry = put()
    assert store.ready("npr") == entry
    assert entry.weights == store.folder("npr") / "NPR.pth"
    assert entry.size == len(CONTENT)


def test_the_home_is_the_variable_s_or_the_cache_folder_s(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    assert store.home() == home
    monkeypatch.delenv("PIXELSLEUTH_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert store.home() == Path("/caches/pixelsleuth")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert store.home() == Path("~/.cache/pixelsleuth").expanduser()


@pytest.mark.parametrize(
    "name", ["", "..", "../npr", "a/b", "/npr", ".hidden", "NPR", "npr\n", "con", "npr."]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name of a detector"):
        store.folder(name)


def without_hash(manifest: Manifest) -> None:
    manifest["files"]["NPR.pth"]["sha256"] = "0"


def of_another(manifest: Manifest) -> None:
    manifest["name"] = "trufor"


def leading_out(manifest: Manifest) -> None:
    manifest["files"] = {"../../NPR.pth": manifest["files"]["NPR.pth"]}


def absolute(manifest: Manifest) -> None:
    manifest["files"] = {"/NPR.pth": manifest["files"]["NPR.pth"]}


def without_files(manifest: Manifest) -> None:
    manifest["files"] = {}


def with_a_list(manifest: Manifest) -> None:
    manifest["files"] = ["NPR.pth"]


def of_another_size(manifest: Manifest) -> None:
    manifest["files"]["NPR.pth"]["size"] += 1


@pytest.mark.parametrize(
    "change",
    [without_hash, of_another, leading_out, absolute, without_files, with_a_list, of_another_size],
)
def test_a_damaged_manifest_is_told_with_the_way_out(change: Callable[[Manifest], None]) -> None:
    entry = put()
    path = entry.folder / store.MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedWeights, match="pixelsleuth models get npr --force"):
        store.ready("npr")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_a_manifest_that_is_none_is_told_too(text: str) -> None:
    entry = put()
    (entry.folder / store.MANIFEST).write_text(text)
    with pytest.raises(DamagedWeights):
        store.ready("npr")


def test_a_file_that_went_or_links_out_of_the_folder_is_damage(tmp_path: Path) -> None:
    entry = put()
    (entry.folder / "NPR.pth").unlink()
    with pytest.raises(DamagedWeights, match="missing"):
        store.ready("npr")
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    (entry.folder / "NPR.pth").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedWeights, match="link"):
        store.ready("npr")


def test_verifying_reads_every_byte() -> None:
    entry = put()
    store.verify(entry)
    (entry.folder / "NPR.pth").write_bytes(b"Weights")
    assert store.ready("npr") == entry  # same size: only the hash tells
    with pytest.raises(DamagedWeights, match="SHA-256"):
        store.verify(entry)


def test_removing_frees_the_folder_and_nothing_else(home: Path) -> None:
    entry, other = put(), put("trufor", "trufor.pth.tar")
    assert store.remove("npr") >= len(CONTENT)
    assert not entry.folder.exists()
    assert store.ready("trufor") == other
    with pytest.raises(UsageError, match="holds nothing of 'npr'"):
        store.remove("npr")


def test_removing_a_link_leaves_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "NPR.pth").write_bytes(CONTENT)
    store.folder("npr").parent.mkdir(parents=True)
    store.folder("npr").symlink_to(own)
    store.remove("npr")
    assert not store.folder("npr").exists()
    assert (own / "NPR.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "a/../b",
        "/a",
        "a//b",
        "a\\b",
        "c:a",
        "a\0",
        "nul.txt",
        "a/ ",
        "manifest.json",
        "a.part",
        "a" * 301,
    ],
)
def test_a_file_name_that_leads_out_or_is_the_store_s_own_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a file"):
        store.inside(name)
