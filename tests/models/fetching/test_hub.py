"""`models get` from a server that speaks the hub's protocol: what comes is whole and checked, or one sentence says why
not and nothing half made is left but what can be gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from pixelsleuth.models import store
from pixelsleuth.models.facts import Origin, Remote
from pixelsleuth.models.fetching import fetch, transfer, web

from .conftest import COMMIT, PINNED, REPOSITORY, WEIGHTS, Hub, publish

Get = Callable[..., Result]


def left(home: Path) -> set[str]:
    """Names of all files below the home."""
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def refused(result: Result, home: Path, *kept: str) -> str:
    """The sentence of a refusal, after a look at what it left."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert left(home) == {f"models/.begun/{name}" for name in kept}
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_pinned_file_comes_whole_and_its_manifest_says_what_it_is(hub: Hub, get: Get, home: Path) -> None:
    result = get("commfor")
    assert result.exit_code == 0, result.output
    assert "licence: MIT" in result.stderr
    assert "checked against the hash that this version knows" in result.stdout
    entry = store.ready("commfor")
    assert entry is not None
    assert (entry.folder / "weights.bin").read_bytes() == WEIGHTS
    assert entry.files == {"weights.bin": store.Stored(PINNED.sha256, len(WEIGHTS), "pinned")}
    assert (entry.revision, entry.licence) == (COMMIT, "MIT")
    assert left(home) == {"models/commfor/manifest.json", "models/commfor/weights.bin"}
    assert not hub.requests_to("/api/")  # no request where all is known


def test_where_no_hash_is_known_the_hub_s_is_checked_and_written_down(hub: Hub, get: Get) -> None:
    result = get("pscc_net")
    assert result.exit_code == 0, result.output
    assert "the hash that the server states" in result.stdout
    entry = store.ready("pscc_net")
    assert entry is not None
    assert entry.revision == COMMIT  # main, resolved
    assert entry.files["weights.bin"] == store.Stored(PINNED.sha256, len(WEIGHTS), "server")


def test_a_checkpoint_brings_its_settings_and_weights_and_no_more(hub: Hub, get: Get) -> None:
    hub.files |= {"model.safetensors": WEIGHTS[:300_000], "pytorch_model.bin": WEIGHTS}
    assert get("lisa", "--accept-licence").exit_code == 0
    entry = store.ready("lisa")
    assert entry is not None
    assert set(entry.files) == {"config.json", "model.safetensors"}
    assert entry.files["config.json"].checked == "server"  # by git's id


def test_what_is_there_is_read_again_and_not_fetched(hub: Hub, get: Get) -> None:
    get("commfor")
    before = len(hub.requests)
    assert get("commfor").exit_code == 0
    assert len(hub.requests) == before
    assert get("commfor", "--force").exit_code == 0
    assert len(hub.requests) > before
    (store.folder("commfor") / "weights.bin").write_bytes(WEIGHTS[::-1])
    result = get("commfor")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert get("commfor", "--force").exit_code == 0
    assert get("commfor").exit_code == 0


def test_a_licence_that_may_forbid_the_use_is_asked_about_before_anything_is_fetched(
    hub: Hub, get: Get, home: Path
) -> None:
    sentence = refused(get("lisa"), home)
    assert "--accept-licence" in sentence
    assert "LLaMA" in sentence
    assert not hub.requests


@pytest.mark.parametrize("name", ["commfor", "pscc_net"])
def test_a_cut_connection_is_gone_on_with_at_once(hub: Hub, get: Get, name: str) -> None:
    hub.cuts = [1_200_000, 500_000]
    assert get(name).exit_code == 0
    ranges = [headers.get("range") for headers in hub.requests_to("/cdn/")]
    assert ranges == [None, "bytes=1200000-", "bytes=1700000-"]
    assert [headers.get("if-range") for headers in hub.requests_to("/cdn/")][1:] == ['"v1"', '"v1"']


def test_after_too_many_cuts_the_same_command_goes_on(hub: Hub, get: Get, home: Path) -> None:
    hub.cuts = [800_000, 100_000, 0, 0]
    sentence = refused(get("commfor"), home, "commfor/weights.bin.part", "commfor/weights.bin.etag.part")
    assert "0.9 MB of weights.bin are kept, the same command continues" in sentence
    assert get("commfor").exit_code == 0
    assert hub.requests_to("/cdn/")[-1]["range"] == "bytes=900000-"
    assert left(home) == {"models/commfor/manifest.json", "models/commfor/weights.bin"}


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(hub: Hub, get: Get) -> None:
    hub.cuts = [800_000, 0, 0, 0]
    assert get("pscc_net").exit_code == 2
    hub.files["weights.bin"], hub.etag = WEIGHTS[::-1], '"v2"'
    assert get("pscc_net").exit_code == 0
    assert (store.folder("pscc_net") / "weights.bin").read_bytes() == WEIGHTS[::-1]


def test_a_server_without_ranges_sends_all_again(hub: Hub, get: Get) -> None:
    hub.cuts, hub.ranges = [1_500_000], False
    assert get("commfor").exit_code == 0


def test_a_wrong_hash_is_refused_and_nothing_kept(hub: Hub, get: Get, home: Path) -> None:
    hub.sent["weights.bin"] = WEIGHTS[:-1] + b"!"
    assert "is not what it should be" in refused(get("commfor"), home)
    assert "is not what it should be" in refused(get("pscc_net"), home)
    hub.files |= {"model.safetensors": WEIGHTS}
    hub.sent["config.json"] = b'{"a": 2}'
    assert "config.json" in refused(get("lisa", "--accept-licence"), home)


def test_a_failed_second_fetch_leaves_the_first(hub: Hub, get: Get) -> None:
    get("commfor")
    hub.sent["weights.bin"] = WEIGHTS[::-1]
    assert get("commfor", "--force").exit_code == 2
    assert get("commfor").exit_code == 0


@pytest.mark.parametrize("name", ["commfor", "pscc_net"])
def test_a_missing_file_is_told(hub: Hub, get: Get, home: Path, name: str) -> None:
    del hub.files["weights.bin"]
    assert "--from" in refused(get(name), home)


@pytest.mark.parametrize("code", [401, 403])
def test_a_guarded_repository_asks_for_a_key(hub: Hub, get: Get, home: Path, code: int) -> None:
    hub.refuse = {"/owner": [code]}
    assert "HF_TOKEN" in refused(get("commfor"), home)


def test_a_busy_server_is_asked_again(hub: Hub, get: Get, home: Path) -> None:
    hub.refuse = {"/owner": [503, 429]}
    assert get("commfor").exit_code == 0
    hub.refuse = {"/owner": [503] * 9}
    get("commfor", "--force")
    store.remove("commfor")
    assert "busy or broken (503)" in refused(get("commfor"), home)


def test_a_silent_server_is_given_up(hub: Hub, get: Get, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.1)
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    hub.silent = 0.5
    begin = time.monotonic()
    assert "silent" in refused(get("commfor"), home)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("length", [True, False])
def test_more_than_was_declared_is_not_taken(hub: Hub, get: Get, home: Path, length: bool) -> None:
    hub.lengths = length
    hub.sent["weights.bin"] = WEIGHTS + b"more"
    sentence = refused(get("commfor"), home)
    assert "3,000,000" in sentence


def test_a_file_of_no_declared_size_is_not_taken(hub: Hub, get: Get, home: Path) -> None:
    hub.lengths, hub.speaks = False, False
    hub.files = {f"{REPOSITORY}/weights.bin": WEIGHTS}
    assert "how large" in refused(get("pscc_net", "--from", hub.url), home)


@pytest.mark.parametrize(
    "place",
    [
        "http://example.org/weights.bin",
        "ftp://127.0.0.1/weights.bin",
        "file:///etc/hostname",
        "https://a:b@c/",
    ],
)
def test_a_redirect_to_an_unsafe_address_is_not_followed(hub: Hub, get: Get, home: Path, place: str) -> None:
    hub.redirect = place
    refused(get("commfor"), home)


def test_redirects_end(hub: Hub, get: Get, home: Path) -> None:
    hub.redirect = f"{hub.url}/{REPOSITORY}/resolve/{COMMIT}/weights.bin"
    refused(get("commfor"), home)


@pytest.mark.parametrize(
    "address", ["http://example.org", "ftp://127.0.0.1", "https://u:p@127.0.0.1", "https://"]
)
def test_an_unsafe_address_is_not_asked(get: Get, home: Path, address: str) -> None:
    refused(get("commfor", "--from", address), home)


def test_the_key_goes_to_the_hub_alone_and_is_never_told(
    hub: Hub, get: Get, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    other = Hub()
    try:
        hub.redirect = f"{other.url}/nothing"
        import threading

        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        result = get("commfor")
        refused(result, home)
        assert "hf_secret" not in result.output
        assert hub.requests[0][1]["authorization"] == "Bearer hf_secret"
        assert all("authorization" not in headers for _, headers in other.requests)
        assert other.requests
    finally:
        other.shutdown()
        other.server_close()
    hub.redirect, hub.requests = None, []
    assert get("commfor", "--from", hub.url).exit_code == 0  # a mirror is not the hub
    assert all("authorization" not in headers for _, headers in hub.requests)


@pytest.mark.parametrize(
    "name",
    [
        "../weights.safetensors",
        "/weights.safetensors",
        "a\\b.safetensors",
        "a\0.safetensors",
        "nul.json",
        " .json",
    ],
)
def test_a_file_name_with_a_trick_in_it_is_refused_or_ignored(
    hub: Hub, get: Get, home: Path, name: str
) -> None:
    row = {"rfilename": name, "size": 5, "lfs": {"sha256": "0" * 64, "size": 5}}
    hub.listed = [row, {"rfilename": "a.safetensors", "size": 5, "lfs": {"sha256": "0" * 64, "size": 5}}]
    refused(get("lisa", "--accept-licence"), home)


@pytest.mark.parametrize(
    "listed",
    [
        [{"rfilename": "weights.bin", "size": -1}],
        [{"rfilename": "weights.bin", "size": "much"}],
        [{"rfilename": "weights.bin", "size": 5, "lfs": {"sha256": "x", "size": 5}}],
        [{"size": 5}],
        ["weights.bin"],
    ],
)
def test_a_listing_that_is_none_is_refused(hub: Hub, get: Get, home: Path, listed: list[Any]) -> None:
    hub.listed = listed
    assert "does not answer as a hub does" in refused(get("pscc_net"), home)


def test_without_a_network_the_way_out_is_told(get: Get, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sentence = refused(get("commfor"), home)
    assert "pixelsleuth models get commfor --from FOLDER|URL" in sentence


def test_too_small_a_disk_is_told_before_a_byte_comes(
    hub: Hub, get: Get, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    sentence = refused(get("commfor"), home)
    assert "PIXELSLEUTH_HOME" in sentence
    assert not hub.requests


def test_a_disk_that_fills_up_is_told_and_the_part_kept(
    hub: Hub, get: Get, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(transfer._Digest):
        taken = 0

        def update(self, data: bytes) -> None:
            Full.taken += len(data)
            if Full.taken > 2_000_000:
                raise OSError(28, os.strerror(28))
            super().update(data)

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_Digest", Full)
        sentence = refused(get("commfor"), home, "commfor/weights.bin.part", "commfor/weights.bin.etag.part")
    assert "is full" in sentence
    assert get("commfor").exit_code == 0


def test_a_home_that_cannot_be_written_is_told(
    hub: Hub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PIXELSLEUTH_HOME", str(tmp_path / "file/home"))
    result = get("commfor")
    assert result.exit_code == 2
    assert "set PIXELSLEUTH_HOME to another folder" in result.stderr


def test_two_at_once_do_not_write_the_same_file(hub: Hub, get: Get, home: Path) -> None:
    with fetch._alone("commfor"):
        result = get("commfor")
    assert result.exit_code == 2
    assert "Another command is fetching commfor" in result.stderr


def test_auto_fetches_the_best_small_set(hub: Hub, get: Get) -> None:
    assert get("auto").exit_code == 0
    assert store.ready("commfor") is not None
    assert store.ready("pscc_net") is not None


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("npr", "NPR.pth"),
        ("compact", "needs no weights"),
        ("qwen2.5-vl-7b", "first used"),
        ("comfor", "commfor"),
    ],
)
def test_what_cannot_be_fetched_is_told(get: Get, name: str, sentence: str) -> None:
    result = get(name)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.slow
def test_weights_of_the_true_size_come_whole_over_a_bad_line(
    hub: Hub, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """87 MB, as Community-Forensics has, cut twice."""
    size = 87_262_324
    content = WEIGHTS * (size // len(WEIGHTS)) + WEIGHTS[: size % len(WEIGHTS)]
    hub.files = {"model.safetensors": content}
    file = Remote("model.safetensors", hashlib.sha256(content).hexdigest(), size)
    publish(monkeypatch, "commfor", Origin(REPOSITORY, COMMIT, (file,)))
    hub.cuts = [30_000_001, 999, 40_000_000]
    result = get("commfor")
    assert result.exit_code == 0, result.output
    entry = store.ready("commfor")
    assert entry is not None
    store.verify(entry)
    assert entry.weights.stat().st_size == size
    assert (
        json.loads((entry.folder / "manifest.json").read_text())["files"]["model.safetensors"]["size"] == size
    )
