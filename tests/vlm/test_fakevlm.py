"""FakeVLM on this machine: likelihoods, batches, left padding, and through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tiny_vlm import picture

from pixelsleuth.cli.main import main
from pixelsleuth.errors import UsageError
from pixelsleuth.models.fakevlm.answers import QUESTION
from pixelsleuth.models.fakevlm.engine import FakeVlmEngine, load_engine
from pixelsleuth.models.registry import load

LONG = "Does the image looks real/fake? Six fingers on one hand"


@pytest.fixture(scope="module")
def random_engine(llava_folder: Path) -> FakeVlmEngine:
    return load_engine(str(llava_folder), device="cpu")[0]


@pytest.fixture(scope="module")
def engine(taught_folder: Path) -> FakeVlmEngine:
    return load_engine(str(taught_folder), device="cpu")[0]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_prompt_is_raw_with_one_token_a_patch(random_engine: FakeVlmEngine) -> None:
    ids = random_engine.prompt_ids(QUESTION)
    assert ids.count(random_engine.image_id) == 4
    assert random_engine.tokenizer.decode([i for i in ids if i != random_engine.image_id]).endswith(QUESTION)
    assert "USER" not in random_engine.tokenizer.decode(ids)


def test_a_picture_answers_in_a_batch_as_alone(random_engine: FakeVlmEngine) -> None:
    pixels = [picture("real", (60, 40), 1), picture("fake", (30, 90), 2), picture("fake", (50, 50), 3)]
    together = random_engine.answer(pixels, max_new_tokens=9)
    alone = [random_engine.answer([picture], max_new_tokens=9)[0] for picture in pixels]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.real for answer in together] == pytest.approx([answer.real for answer in alone], abs=1e-5)
    assert all(answer.cut for answer in together)


def test_rows_of_different_lengths_are_padded_at_the_left_and_answer_as_alone(
    random_engine: FakeVlmEngine,
) -> None:
    pixels = [picture("real", seed=4), picture("fake", seed=5)]
    together = random_engine.ask(pixels, [QUESTION, LONG], max_new_tokens=8)
    assert together[0] == random_engine.ask(pixels[:1], [QUESTION], max_new_tokens=8)[0]
    assert together[1] == random_engine.ask(pixels[1:], [LONG], max_new_tokens=8)[0]


def test_cached_decoding_writes_what_recomputing_everything_writes(engine: FakeVlmEngine) -> None:
    pixels = [picture("fake", seed=6)]
    ids, values = engine.prompt_ids(QUESTION), engine.pixel_values(pixels)
    start = len(ids)
    for _ in range(30):
        logits = engine.model(input_ids=torch.tensor([ids]), pixel_values=values).logits[0, -1]
        ids.append(int(logits.argmax()))
        if ids[-1] in engine.ends:
            break
    text = engine.tokenizer.decode(ids[start:-1]).strip()
    assert (
        engine.answer(pixels)[0].text
        == text
        == ("This is a fake image. Six fingers on one hand; A shadow that points to the sun.")
    )


def test_the_likelihood_is_that_of_the_two_words_where_the_answer_writes_one(engine: FakeVlmEngine) -> None:
    for kind in ("real", "fake"):
        pixels = [picture(kind, seed=7)]
        ids = engine.prompt_ids(QUESTION) + engine.opening
        logits = engine.model(input_ids=torch.tensor([ids]), pixel_values=engine.pixel_values(pixels)).logits[
            0, -1
        ]
        expected = float(logits[list(engine.words)].detach().softmax(0)[0])
        assert (expected > 0.5) == (kind == "real")
        assert engine.answer(pixels)[0].real == pytest.approx(expected, abs=1e-5)
        assert engine.answer(pixels, explain=False)[0].real == pytest.approx(expected, abs=1e-5)


def test_check_gives_verdict_artefacts_and_text(taught_folder: Path, pictures: list[Path]) -> None:
    status, out, errors = run(
        "check", *pictures, "--model", taught_folder, "--format", "json", "--batch-size", 3
    )
    assert status == 0, errors
    records = json.loads(out)
    assert [entry["label"] for entry in records] == ["real", "full_synthetic", "real", "full_synthetic"]
    fake = records[1]
    assert [entry["statement"] for entry in fake["evidence"]] == [
        "Six fingers on one hand",
        "A shadow that points to the sun",
    ]
    assert fake["explanation"].startswith("This is a fake image.")
    assert not fake["inconclusive"]
    assert fake["probabilities"]["tampered"] == 0
    assert any("real from fake only" in warning for warning in fake["warnings"])


def test_without_explanations_the_verdicts_are_the_same(taught_folder: Path, pictures: list[Path]) -> None:
    both = []
    for flag in ("--explain", "--no-explain"):
        _, out, _ = run("check", *pictures, "--model", taught_folder, "--format", "json", flag)
        both.append(json.loads(out))
    for a, b in zip(*both, strict=True):
        assert b["explanation"] is None
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-5)


def test_an_answer_without_a_verdict_is_inconclusive(llava_folder: Path, pictures: list[Path]) -> None:
    status, out, _ = run("check", pictures[0], "--model", llava_folder, "--format", "json")
    (record,) = json.loads(out)
    assert status == 0
    assert record["inconclusive"]
    assert "the answer names no verdict" in record["warnings"]
    assert record["explanation"]


def test_chat_puts_questions_to_the_picture(taught_folder: Path, pictures: list[Path]) -> None:
    result = CliRunner().invoke(main, ["chat", str(pictures[1]), "--model", str(taught_folder)], input="\n")
    assert result.exit_code == 0, result.output
    assert "This is a fake image." in result.output


@pytest.mark.parametrize("broken", ["weights", "missing", "config", "tokenizer", "processor"])
def test_a_damaged_checkpoint_is_told_in_one_sentence(
    broken: str, llava_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(llava_folder, folder)
    if broken == "weights":
        (folder / "model.safetensors").write_bytes(b"\x00" * 200)
    elif broken == "missing":
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        weights.pop(next(name for name in weights if "projector" in name and name.endswith("weight")))
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    elif broken == "config":
        (folder / "config.json").write_text("{")
    elif broken == "tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    else:
        (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError) as caught:
        load(str(folder), "cpu")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_does_not_tell_the_words_apart_is_refused(
    llava_folder: Path, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer

    folder = tmp_path / "alike"
    shutil.copytree(llava_folder, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    for word in (" real", " fake"):
        del content["model"]["vocab"][word]
    Tokenizer.from_str(json.dumps(content)).save(str(folder / "tokenizer.json"))
    with pytest.raises(UsageError, match="real"):
        load(str(folder), "cpu")


def test_keys_written_in_place_are_those_that_transformers_keeps() -> None:
    from transformers.cache_utils import DynamicLayer

    from pixelsleuth.models.fakevlm.engine import ROOM, RoomyLayer

    torch.manual_seed(0)
    ours, theirs = RoomyLayer(), DynamicLayer()
    rows = 3
    for step, new in enumerate([7, 1, 1, ROOM, 1, 5, 1]):
        keys, values = torch.randn(2, rows, 2, new, 4)
        for a, b in zip(ours.update(keys, values), theirs.update(keys, values), strict=True):
            assert torch.equal(a, b)
        assert ours.get_seq_length() == theirs.get_seq_length()
        if step == 1:
            place = ours.keys.data_ptr()
        if step == 2:
            assert ours.keys.data_ptr() == place  # nothing was copied
        if step == 4:
            rows = 2
            for cache in (ours, theirs):
                cache.batch_select_indices(torch.tensor([2, 0]))
        if step == 5:
            for cache in (ours, theirs):
                cache.crop(-2)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(llava_folder: Path, tmp_path: Path, wrong: float) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "bad"
    shutil.copytree(llava_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    key = next(key for key, value in sorted(tensors.items()) if value.ndim > 1)
    tensors[key].view(-1)[1] = wrong
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="NaN or infinite"):
        load_engine(str(folder), device="cpu")


def test_a_config_that_describes_more_than_there_is_memory_for_is_refused(
    llava_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    shutil.copytree(llava_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"hidden_size": 400_000, "intermediate_size": 4_000_000}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="GB are free"):
        load_engine(str(folder), device="cpu")


def test_weights_in_a_folder_of_their_files_name_are_read(llava_folder: Path, tmp_path: Path) -> None:
    """As DeepSpeed's zero_to_fp32.py leaves them since 0.15.3."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(llava_folder, folder)
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    (folder / "model.safetensors").mkdir()
    (tmp_path / "model.safetensors").rename(folder / "model.safetensors/model.safetensors")
    whole, again = (load_engine(str(path), device="cpu")[0].model for path in (llava_folder, folder))
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
    assert again.generation_config.pad_token_id == whole.generation_config.pad_token_id


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named(llava_folder: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(llava_folder, folder)
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(UsageError, match=f"{name} is a pointer of Git LFS"):
        load_engine(str(folder), device="cpu")
