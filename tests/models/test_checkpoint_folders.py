"""What stands beside the weights of a SIDA checkpoint: added tokens, and the prompt and preparation that it states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sentencepiece", reason="the extra vlm brings sentencepiece")

from pixelsleuth.errors import UsageError
from pixelsleuth.models.sida import prompts
from pixelsleuth.models.sida.processing import SidaProcessor, ensure_same_preparation, preparation
from pixelsleuth.models.sida.published import ensure_as_trained, marks_picture
from pixelsleuth.models.sida.tokenizer import LegacyTokenizer
from pixelsleuth.training.sida.start import train_tokenizer

ADDED = {"[CLS]": 300, "[SEG]": 301, "<im_start>": 302, "<im_end>": 303}


@pytest.fixture(scope="module")
def model() -> bytes:
    """A SentencePiece model of 300 pieces."""
    return train_tokenizer(300).model


@pytest.fixture
def folder(model: bytes, tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.model").write_bytes(model)
    return tmp_path


OWN = {"0": {"content": "<unk>"}, "1": {"content": "<s>"}, "2": {"content": "</s>"}}
DECODER = {str(i): {"content": token, "special": False, "lstrip": True} for token, i in ADDED.items()}
FILES = {
    "added_tokens.json": ADDED,
    "tokenizer_config.json": {"added_tokens_decoder": OWN | DECODER},
    "tokenizer.json": {"added_tokens": [{"id": int(i), **token} for i, token in (OWN | DECODER).items()]},
}


@pytest.mark.parametrize(
    "names", [[name] for name in FILES] + [list(FILES)], ids=lambda names: "+".join(names)
)
def test_added_tokens_are_read_wherever_they_stand(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).write_text(json.dumps(FILES[name]))
    assert LegacyTokenizer.from_folder(folder).added == ADDED


def test_files_that_disagree_on_a_token_are_refused(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps(ADDED | {"[SEG]": 305}))
    (folder / "tokenizer_config.json").write_text(json.dumps(FILES["tokenizer_config.json"]))
    with pytest.raises(UsageError, match=r"\[SEG\] two ids \(305, and 301 in tokenizer_config\.json\)"):
        LegacyTokenizer.from_folder(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"added_tokens_decoder": [1], "added_tokens": 3, "[CLS]": "x"}']
)
def test_a_damaged_file_of_tokens_is_named(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(UsageError, match=f"{name} is damaged"):
        LegacyTokenizer.from_folder(folder)


def test_a_pointer_in_the_place_of_the_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.model").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    with pytest.raises(UsageError, match=r"tokenizer\.model is a pointer of Git LFS"):
        LegacyTokenizer.from_folder(folder)


@pytest.mark.parametrize(
    "stated, added, marked",
    [
        ({"mm_use_im_start_end": True}, ADDED, True),
        ({"mm_use_im_start_end": False}, ADDED, False),
        ({}, ADDED, True),
        ({}, {"[CLS]": 300, "[SEG]": 301}, False),
        ({"mm_use_im_start_end": None}, ADDED, True),
    ],
)
def test_the_config_states_whether_the_picture_is_marked(stated: dict, added: dict, marked: bool) -> None:
    assert marks_picture(stated, added) is marked


def test_a_prompt_without_marks_has_none(model: bytes) -> None:
    tokenizer = LegacyTokenizer(model, ADDED)
    marked, plain = SidaProcessor(tokenizer), SidaProcessor(tokenizer, marked=False)
    first, second = marked.ids(prompts.QUESTION), plain.ids(prompts.QUESTION)
    assert (first.before[-1], first.after[0]) == (302, 303)
    assert not {302, 303} & {*second.before, *second.after}
    assert prompts.prompt("Real?", marked=False).endswith("USER: <image>\nReal? ASSISTANT:")


def test_marks_that_the_tokenizer_lacks_are_refused(model: bytes) -> None:
    tokenizer = LegacyTokenizer(model, {"[CLS]": 300, "[SEG]": 301, "<im_start>": 302})
    with pytest.raises(UsageError, match="the tokenizer lacks <im_end>"):
        SidaProcessor(tokenizer)
    assert not SidaProcessor(tokenizer, marked=False).marked


@pytest.mark.parametrize(
    "stated, named",
    [
        ({"mm_vision_select_feature": "cls_patch"}, "mm_vision_select_feature"),
        ({"mm_projector_type": "mlp2x_gelu"}, "mm_projector_type"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    ],
)
def test_a_config_that_states_another_computation_is_refused(stated: dict, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        ensure_as_trained(stated)


def test_a_config_as_published_passes() -> None:
    ensure_as_trained({"mm_vision_select_feature": "patch", "rope_scaling": None})
    with pytest.raises(UsageError, match="true or false"):
        marks_picture({"mm_use_im_start_end": "false"}, ADDED)


def test_clips_preparation_is_ours_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    ensure_same_preparation(path, 224)
    older = {"crop_size": 224, "size": 224, "do_resize": True, "resample": 3, "feature_extractor_type": "x"}
    for content in (preparation(224), older):
        path.write_text(json.dumps(content))
        ensure_same_preparation(path, 224)
    path.write_text(json.dumps(preparation(224) | {"image_mean": [0.5, 0.5, 0.5], "resample": 2}))
    with pytest.raises(UsageError, match=r"\(image_mean, resample\)"):
        ensure_same_preparation(path, 224)
