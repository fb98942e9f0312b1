"""Content Credentials: whose signature holds, what it declares, and that nobody is accused or asked over it."""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pixelsleuth.cli.main import main
from pixelsleuth.errors import UsageError
from pixelsleuth.evidence import credentials
from pixelsleuth.evidence.credentials import credentials_finding
from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.trust_lists import (
    OLD_ANCHORS,
    OLD_HASHES,
    SIGNERS,
    TIME_STAMPERS,
    read_trust_lists,
    shipped_lists,
)

from .signing import Authority, action, plain_picture

pytest.importorskip("c2pa", reason="the extra provenance is not installed")

STATES = {
    "Firefly_tabby_cat.jpg": "not_recognised",
    "car-es-Ps-Cr.jpg": "not_recognised",
    "cloudscape-ACA-Cr.jpeg": "not_recognised",
    "adobe-20220124-CA.jpg": "not_recognised",
    "adobe-20220124-CACAICAICICA.jpg": "not_recognised",
    "adobe-20220124-CICACACA.jpg": "not_recognised",
    "adobe-20220124-XCI.jpg": "invalid",
    "adobe-20220124-E-dat-CA.jpg": "invalid",
    "adobe-20220124-E-uri-CA.jpg": "invalid",
    "crater-lake-cr.jpg": "remote_only",
    "crater-lake.jpeg": "none",
    "adobe-20220124-A.jpg": "none",
    "gen-jpg-civitai-hires.jpg": "none",
}
CAPTURED = [action("c2pa.created", "digitalCapture")]
GENERATED = [action("c2pa.created", "trainedAlgorithmicMedia")]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def state_of(authority: Authority, tmp_path: Path) -> Callable[..., Finding]:
    """Judges bytes against the test authority's own list."""

    def judge(data: bytes, name: str = SIGNERS) -> Finding:
        lists = read_trust_lists(authority.list_in(tmp_path / "lists", name))
        finding = credentials_finding(memoryview(data), lists)
        assert finding is not None
        return finding

    return judge


@pytest.mark.parametrize("name", STATES)
def test_a_sample_is_in_the_state_that_its_makers_document(shared: Path, name: str) -> None:
    finding = credentials_finding(memoryview((shared / "samples" / "provenance" / name).read_bytes()))
    assert (finding.detail["state"] if finding else "none") == STATES[name]


def test_firefly_declares_generation_and_an_unknown_signer_is_no_sign_of_a_forgery(shared: Path) -> None:
    data = (shared / "samples" / "provenance" / "Firefly_tabby_cat.jpg").read_bytes()
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    assert (finding.detail["declares"], finding.detail["signer"]) == ("generated", "Adobe Inc.")
    assert finding.detail["inception"] == ["fullyGenAIMedia"]
    assert finding.strength == "declares"
    assert "no sign of a forgery" in finding.statement


@pytest.mark.parametrize(
    "name, words",
    [
        ("E-dat", "content of the file is not the one"),
        ("E-uri", "was changed after it was signed (c2pa.actions)"),
    ],
)
def test_a_broken_signature_says_what_is_wrong_and_declares_nothing(
    shared: Path, name: str, words: str
) -> None:
    data = (shared / "samples" / "provenance" / f"adobe-20220124-{name}-CA.jpg").read_bytes()
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    assert words in finding.statement
    assert "declares" not in finding.detail


def test_ingredients_of_ingredients_are_a_tree(shared: Path) -> None:
    data = (shared / "samples" / "provenance" / "adobe-20220124-CAICA.jpg").read_bytes()
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    titles = [(node["title"], [inner["title"] for inner in node.get("ingredients", [])])
              for node in finding.detail["ingredients"]]  # fmt: skip
    assert ("CA.jpg", ["A.jpg"]) in titles


def test_ingredients_state_whether_their_own_credentials_hold(
    authority: Authority, state_of: Callable[..., Finding]
) -> None:
    whole = authority.sign(GENERATED, plain_picture(kind="JPEG"))
    torn = bytearray(whole)
    torn[-10] ^= 1
    listed = [action("c2pa.opened", of="parentOf"), action("c2pa.placed", of="componentOf")]
    parts = {"parentOf": whole, "componentOf": bytes(torn), "inputTo": plain_picture(7)}
    finding = state_of(authority.sign(listed, plain_picture(99), **parts))
    nodes = {node["relationship"]: node for node in finding.detail["ingredients"]}
    assert {name: node["state"] for name, node in nodes.items()} == {
        "parentOf": "valid", "componentOf": "invalid", "inputTo": "none",
    }  # fmt: skip
    assert nodes["parentOf"]["inception"] == ["fullyGenAIMedia"]
    assert "content of the file is not the one" in nodes["componentOf"]["problems"][0]
    assert "do not hold" in finding.statement


def test_thumbnails_of_ingredients_are_drawn_anew_and_small(shared: Path) -> None:
    data = (shared / "samples" / "provenance" / "adobe-20220124-CACAICAICICA.jpg").read_bytes()
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    assert [picture.caption.split(": ")[1] for picture in finding.pictures] == [
        "CAICA.jpg (the version before)", "A.jpg (the version before)", "CA.jpg (a part)", "CICA.jpg (a part)",
    ]  # fmt: skip
    for picture in finding.pictures:
        image = Image.open(io.BytesIO(picture.image))
        assert (image.format, picture.media_type) == ("JPEG", "image/jpeg")
        assert max(image.size) <= 320
        assert not image.info.get("exif")
        assert picture.image not in data


def test_no_thumbnail_is_shown_of_a_manifest_that_does_not_hold(shared: Path) -> None:
    data = (shared / "samples" / "provenance" / "adobe-20220124-E-dat-CA.jpg").read_bytes()
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    assert finding.pictures == ()


def test_inspect_prints_the_ingredients_as_a_tree(shared: Path) -> None:
    path = shared / "samples" / "provenance" / "adobe-20220124-CAICA.jpg"
    result = CliRunner().invoke(main, ["inspect", "--fast", str(path)])
    assert result.exit_code == 0, result.output
    assert "What went into it" in result.output
    assert "A.jpg (the version before, JPEG): without credentials" in result.output


@pytest.mark.parametrize("name, state", [(SIGNERS, "trusted"), (OLD_ANCHORS, "trusted_by_old_list")])
def test_a_signer_of_the_list_is_recognised(
    authority: Authority, state_of: Callable[..., Finding], name: str, state: str
) -> None:
    finding = state_of(authority.sign(CAPTURED, plain_picture()), name)
    assert (finding.detail["state"], finding.strength) == (state, "shows")
    assert (finding.detail["declares"], finding.detail["signer"]) == ("captured", "Test Camera Maker")
    assert "no sign of" not in finding.statement


def test_a_part_by_a_signer_of_one_list_does_not_decide_for_the_whole(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority()
    authority.list_in(tmp_path, SIGNERS)
    other.list_in(tmp_path, OLD_ANCHORS)
    lists = read_trust_lists(tmp_path)
    made = [action("c2pa.created", "digitalCreation"), action("c2pa.placed", of="componentOf")]
    for signer, part, state in (authority, other, "trusted"), (other, authority, "trusted_by_old_list"), (
        Authority(), authority, "not_recognised",
    ):  # fmt: skip
        data = signer.sign(made, plain_picture(), componentOf=part.sign(CAPTURED, plain_picture(9)))
        finding = credentials_finding(memoryview(data), lists)
        assert finding is not None
        assert finding.detail["state"] == state


def test_who_may_stamp_times_may_not_sign_for_that(authority: Authority, tmp_path: Path) -> None:
    authority.list_in(tmp_path, TIME_STAMPERS)
    Authority().list_in(tmp_path, SIGNERS)
    finding = credentials_finding(
        memoryview(authority.sign(CAPTURED, plain_picture())), read_trust_lists(tmp_path)
    )
    assert finding is not None
    assert finding.detail["state"] == "not_recognised"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_every_format_that_carries_credentials_is_read(
    authority: Authority, state_of: Callable[..., Finding], kind: str
) -> None:
    assert state_of(authority.sign(CAPTURED, plain_picture(kind=kind))).detail["state"] == "trusted"


def test_a_changed_byte_of_the_picture_breaks_the_signature_of_a_trusted_signer(
    authority: Authority, state_of: Callable[..., Finding]
) -> None:
    data = bytearray(authority.sign(CAPTURED, plain_picture()))
    data[-10] ^= 1
    assert state_of(bytes(data)).detail["state"] == "invalid"


def test_what_an_earlier_version_declares_still_counts(
    authority: Authority, state_of: Callable[..., Finding]
) -> None:
    before = authority.sign(GENERATED, plain_picture())
    edits = [action("c2pa.opened", of="parentOf"), action("c2pa.cropped", "humanEdits")]
    finding = state_of(authority.sign(edits, plain_picture(99), parentOf=before))
    assert finding.detail["declares"] == "generated"
    assert finding.detail["ingredients"][0]["declares"] == ["wholly generated by AI"]


def test_a_capture_edited_by_ai_is_declared_edited_by_ai(
    authority: Authority, state_of: Callable[..., Finding]
) -> None:
    before = authority.sign(CAPTURED, plain_picture())
    edits = [
        action("c2pa.opened", of="parentOf"),
        action("c2pa.edited", "compositeWithTrainedAlgorithmicMedia"),
    ]
    finding = state_of(authority.sign(edits, plain_picture(99), parentOf=before))
    assert finding.detail["declares"] == "edited_by_ai"
    assert finding.detail["transformations"] == ["perceptibleGenAI"]


def test_a_generated_component_is_named_but_does_not_make_the_whole_generated(
    authority: Authority, state_of: Callable[..., Finding]
) -> None:
    part = authority.sign(GENERATED, plain_picture())
    listed = [action("c2pa.created", "digitalCreation"), action("c2pa.placed", of="componentOf")]
    finding = state_of(authority.sign(listed, plain_picture(99), componentOf=part))
    assert finding.detail["declares"] != "generated"
    assert "A part of it declares that AI made or changed it" in finding.statement


def test_without_the_extra_the_file_says_what_was_not_examined(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    data = (shared / "samples" / "provenance" / "Firefly_tabby_cat.jpg").read_bytes()
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    assert (finding.detail["state"], finding.strength) == ("not_examined", "hints")
    assert ".[provenance]" in finding.statement
    assert credentials_finding(memoryview(plain_picture())) is None


def test_a_file_beyond_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    data = authority.sign(CAPTURED, plain_picture())
    monkeypatch.setattr(credentials, "LARGEST", len(data) - 1)
    finding = credentials_finding(memoryview(data))
    assert finding is not None
    assert finding.detail["state"] == "unreadable"


def test_broken_manifests_end_in_a_state(authority: Authority) -> None:
    signed = authority.sign(
        [action("c2pa.opened", of="parentOf")],
        plain_picture(),
        parentOf=authority.sign(GENERATED, plain_picture(9)),
    )
    start, end = signed.index(b"jumb"), len(signed) - len(plain_picture())
    rng = random.Random(5)
    states = set()
    for _ in range(60):
        data = bytearray(signed)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(start, end)] = rng.randrange(256)
        finding = credentials_finding(memoryview(data))
        states.add(finding.detail["state"] if finding else "none")
        assert finding is None or json.dumps(finding.to_dict())
    assert states <= {"none", "unreadable", "invalid", "not_recognised"}
    assert "invalid" in states


def test_the_shipped_lists_hold_the_certificates_that_their_page_counts() -> None:
    assert shipped_lists().signers.count("BEGIN CERTIFICATE") == 30
    assert shipped_lists().time_stampers.count("BEGIN CERTIFICATE") == 22
    assert not shipped_lists().has_old


def test_a_folder_without_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / SIGNERS).write_text("no certificate")
    with pytest.raises(UsageError, match="holds no trust list"):
        read_trust_lists(tmp_path)


def test_check_takes_a_folder_of_lists_in_place_of_the_shipped_ones(
    authority: Authority, tmp_path: Path
) -> None:
    picture = tmp_path / "signed.jpg"
    picture.write_bytes(authority.sign(CAPTURED, plain_picture()))
    lists = authority.list_in(tmp_path / "lists", SIGNERS)
    call = ["check", str(picture), "--format", "json", "--model", "compact", "--trust-list", str(lists)]
    result = CliRunner().invoke(main, call)
    entries = json.loads(result.output)[0]["evidence"]
    assert [entry["detail"]["state"] for entry in entries if entry["kind"] == "c2pa"] == ["trusted"]
    (lists / SIGNERS).unlink()
    refused = CliRunner().invoke(main, call)
    assert refused.exit_code == 2
    assert "holds no trust list" in refused.output


def test_a_signer_whose_hash_the_interim_list_holds_is_recognised(
    authority: Authority, tmp_path: Path
) -> None:
    data = authority.sign(CAPTURED, plain_picture())
    (tmp_path / OLD_HASHES).write_text(
        f"# Test Camera Maker\n{authority.hash_of_signer()}\n", encoding="utf-8"
    )
    finding = credentials_finding(memoryview(data), read_trust_lists(tmp_path))
    assert finding is not None
    assert finding.detail["state"] == "trusted_by_old_list"
    (tmp_path / OLD_HASHES).write_text("U2h3hfYy4GRIk7KCpu819C3nLko6A/NRn5xND2jYIng=\n", encoding="utf-8")
    other = credentials_finding(memoryview(data), read_trust_lists(tmp_path))
    assert other is not None
    assert other.detail["state"] == "not_recognised"


def test_inspect_takes_a_folder_of_lists_in_place_of_the_shipped_ones(
    authority: Authority, tmp_path: Path
) -> None:
    picture = tmp_path / "signed.jpg"
    picture.write_bytes(authority.sign(CAPTURED, plain_picture()))
    lists = authority.list_in(tmp_path / "lists", SIGNERS)
    for options, state in ([], "not_recognised"), (["--trust-list", str(lists)], "trusted"):
        result = CliRunner().invoke(main, ["inspect", str(picture), "--format", "json", *options])
        assert result.exit_code == 0, result.output
        assert json.loads(result.output)[0]["evidence"][0]["detail"]["state"] == state
    (lists / SIGNERS).unlink()
    refused = CliRunner().invoke(main, ["inspect", str(picture), "--trust-list", str(lists)])
    assert refused.exit_code == 2
    assert "holds no trust list" in refused.output
