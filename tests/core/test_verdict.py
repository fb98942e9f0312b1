"""What a verdict holds, and what its JSON looks like."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.region import Region
from pixelsleuth.core.verdict import Label, Verdict
from pixelsleuth.errors import CorruptPicture, PictureError, PictureNotFound
from pixelsleuth.pictures.images import open_picture

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "reference" / "verdict.schema.json"
MODEL = {"name": "fake", "version": "1"}
THINKS_TAMPERED = {Label.REAL: 0.2, Label.FULL_SYNTHETIC: 0.1, Label.TAMPERED: 0.7}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def verdict(path):
    mask = np.zeros((48, 64), bool)
    mask[10:20, 30:50] = True
    return Verdict.of(
        open_picture(path),
        THINKS_TAMPERED,
        model=MODEL,
        mask=mask,
        regions=[Region((30, 10, 50, 20), 200, 0.91)],
        explanation="A piece was put in.",
        evidence=[{"kind": "splice", "statement": "A piece was put in.", "score": 0.9}],
    )


def validate(record):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(record)


def test_the_most_probable_label_is_named_even_when_inconclusive(path):
    verdict = Verdict.of(open_picture(path), THINKS_TAMPERED, model=MODEL, inconclusive=True)
    assert (verdict.label, verdict.confidence, verdict.inconclusive) == (Label.TAMPERED, 0.7, True)
    assert verdict.label == "tampered"


def test_records_follow_the_published_schema(verdict):
    validate(json.loads(verdict.to_json()))
    validate(verdict.to_dict(mask_file="masks/picture.png"))
    validate(Verdict.failed("a.jpg", CorruptPicture("a.jpg is damaged."), MODEL).to_dict())


def test_the_decision_is_part_of_the_record_and_old_records_still_read(path):
    record = {"wrong": 4, "of": 112, "sources": 18}
    decision = {
        "conclusive": True, "bounds": {"accused": 0.03, "right": 0.9}, "stable": True,
        "wrong": {"all": record, "photograph": record}, "accused": record, "sentence": "Such verdicts were wrong.",
    }  # fmt: skip
    verdict = Verdict.of(open_picture(path), THINKS_TAMPERED, model=MODEL, decision=decision)
    record = json.loads(verdict.to_json())
    validate(record)
    assert Verdict.from_dict(record).decision == decision
    del record["decision"]
    validate(record)
    assert Verdict.from_dict(record).decision is None


def test_the_schema_refuses_records_that_are_wrong(verdict):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    for change in (
        {"label": "fake"},
        {"label": None},
        {"confidence": 2},
        {"mask": {"area": 3}},
        {"schema": "other"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            validate(verdict.to_dict() | change)


def test_a_record_can_be_read_back(verdict):
    back = Verdict.from_dict(json.loads(verdict.to_json()))
    assert back.to_dict() == verdict.to_dict()
    assert np.array_equal(back.mask, verdict.mask)
    assert back.probabilities == THINKS_TAMPERED
    assert back.regions == verdict.regions


def test_a_mask_written_as_a_file_can_be_read_back(verdict, tmp_path):
    Image.fromarray(verdict.mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    record = verdict.to_dict(mask_file="mask.png")
    assert record["mask"] == {"file": "mask.png", "area": 200}
    assert np.array_equal(Verdict.from_dict(record, folder=tmp_path).mask, verdict.mask)


def test_a_mask_is_found_where_check_wrote_it_and_where_its_folder_moved_to(verdict, tmp_path, monkeypatch):
    (tmp_path / "masks").mkdir()
    Image.fromarray(verdict.mask.astype(np.uint8) * 255).save(tmp_path / "masks" / "a.mask.png")
    record = verdict.to_dict(mask_file="masks/a.mask.png")  # as `check --save-masks masks/` writes it
    monkeypatch.chdir(tmp_path)
    for folder in (None, "masks", tmp_path / "masks", tmp_path):
        assert np.array_equal(Verdict.from_dict(record, folder=folder).mask, verdict.mask)


def test_a_mask_that_cannot_be_loaded_is_an_error_and_never_none(verdict, tmp_path):
    secret = tmp_path / "secret.png"
    Image.fromarray(verdict.mask.astype(np.uint8) * 255).save(secret)
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(folder / "small.png")
    (folder / "broken.png").write_bytes(b"no picture")
    absent = ("gone.png", "../secret.png", str(secret))
    for name, error in (*((name, PictureNotFound) for name in absent), ("small.png", CorruptPicture),
                        ("broken.png", CorruptPicture)):  # fmt: skip
        with pytest.raises(error, match=name.rpartition("/")[2]):
            Verdict.from_dict(verdict.to_dict(mask_file=name), folder=folder)
    with pytest.raises(PictureNotFound, match="folder="):
        Verdict.from_dict(verdict.to_dict(mask_file="gone.png"))


def test_a_failure_is_a_record_without_a_label():
    verdict = Verdict.failed("a.jpg", CorruptPicture("a.jpg is damaged."), MODEL)
    assert not verdict.ok
    assert verdict.error == {"code": "corrupt_picture", "message": "a.jpg is damaged."}
    assert (verdict.label, verdict.mask, verdict.probabilities) == (None, None, None)
    assert Verdict.from_dict(verdict.to_dict()).error == verdict.error


def test_other_schemas_are_refused():
    with pytest.raises(ValueError, match=r"verdict/1"):
        Verdict.from_dict({"schema": "pixelsleuth.verdict/2"})


def test_wrong_probabilities_and_masks_are_refused(path):
    picture = open_picture(path)
    for wrong in ({Label.REAL: 1.0}, dict.fromkeys(Label, 0.5), THINKS_TAMPERED | {Label.REAL: float("nan")}):
        with pytest.raises(ValueError, match="probabilities"):
            Verdict.of(picture, wrong, model=MODEL)
    for mask in (np.zeros((64, 48), bool), np.zeros((48, 64), np.uint8)):
        with pytest.raises(ValueError, match="mask"):
            Verdict.of(picture, THINKS_TAMPERED, model=MODEL, mask=mask)


def test_names_that_are_not_utf8_still_give_valid_json():
    verdict = Verdict.failed("caf\udce9.jpg", CorruptPicture("x"), MODEL)
    assert json.loads(verdict.to_json().encode("utf-8"))["source"] == "caf\\udce9.jpg"


def test_overlay_paints_where_the_mask_is_and_nowhere_else(verdict):
    before, after = verdict.picture.pixels.astype(int), np.asarray(verdict.overlay()).astype(int)
    assert np.abs(after - before)[12:18, 34:46].mean() > 10
    assert np.array_equal(after[30:], before[30:])


def test_overlay_can_be_bounded_and_is_never_enlarged(verdict):
    assert verdict.overlay(max_side=32).size == (32, 24)
    assert verdict.overlay(max_side=1000).size == (64, 48)


def test_overlay_reads_a_forgotten_picture_again_unless_it_changed(verdict, path):
    whole = np.asarray(verdict.overlay())
    verdict.forget_picture()
    assert np.array_equal(np.asarray(verdict.overlay()), whole)
    Image.new("RGB", (64, 48)).save(path)
    with pytest.raises(PictureError, match="has changed"):
        verdict.overlay()
    path.unlink()
    with pytest.raises(PictureError):
        verdict.overlay()


def test_a_failed_verdict_has_nothing_to_draw():
    with pytest.raises(PictureError, match="nothing to draw"):
        Verdict.failed("a.jpg", CorruptPicture("x"), MODEL).overlay()
