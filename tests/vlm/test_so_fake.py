"""So-Fake-R1's detector: policy, self-consistency, segmenter, and through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny_vlm import make_sam, make_sam2, picture

from pixelsleuth.cli.main import main
from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.registry import load
from pixelsleuth.models.so_fake_r1.answers import write
from pixelsleuth.models.so_fake_r1.detector import Settings, SoFakeDetector, read_settings
from pixelsleuth.models.so_fake_r1.policy import Completion, Policy, load_policy
from pixelsleuth.models.so_fake_r1.segmenter import Segmenter, load_segmenter
from pixelsleuth.pictures.images import open_picture
from pixelsleuth.training.vlm.settings import PolicySize
from pixelsleuth.training.vlm.tiny import make_policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qwen")
    size = PolicySize({"hidden_size": 32, "num_hidden_layers": 1}, {"hidden_size": 32, "depth": 1})
    make_policy(path, ["Odd light."], size=size)
    return path


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    return load_policy(folder, "tiny", device="cpu", precision="auto")[0]


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sam")
    make_sam(path)
    return path


class Scripted:
    """A policy that says what it is made to say."""

    frame = 224

    def __init__(self, *texts: str, chances: tuple[float, float, float] | None = None) -> None:
        self.texts, self.chances = texts, chances

    def greedy(self, pixels: list, *, max_new_tokens: int) -> list[Completion]:
        return [Completion(text, self.chances) for text, _ in zip(self.texts, pixels, strict=True)]

    def samples(self, pixels: np.ndarray, count: int, **_: object) -> list[Completion]:
        assert count == len(self.texts)
        return [Completion(text) for text in self.texts]


class Square:
    """A segmenter whose mask is the box."""

    def mask(self, pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        heat = np.zeros(pixels.shape[:2], np.float32)
        heat[box[1] : box[3], box[0] : box[2]] = 0.9
        return heat


def judge(policy: Scripted, *, segmenter: object = None, samples: int = 0):
    find = (lambda: segmenter) if segmenter is not None else None
    detector = SoFakeDetector(policy, "scripted", find_segmenter=find, settings=Settings(samples=samples))
    (verdict,) = detector.judge([open_picture(picture("fake", (448, 112)))], explain=True)
    json.loads(verdict.to_json())
    return verdict


def test_the_box_goes_from_the_frame_to_the_picture_and_prompts_the_mask() -> None:
    text = write(Label.TAMPERED, (56, 56, 111, 111), "Odd light.")
    verdict = judge(Scripted(text, chances=(0.1, 0.1, 0.8)), segmenter=Square())
    assert verdict.label is Label.TAMPERED
    assert verdict.confidence == 0.8
    assert verdict.regions[0].box == (112, 28, 224, 56)
    assert verdict.mask is not None
    assert verdict.mask.sum() == 112 * 28
    assert verdict.explanation == "Odd light."


def test_without_a_segmenter_the_box_is_the_region_and_the_verdict_says_so() -> None:
    verdict = judge(Scripted(write(Label.TAMPERED, (0, 0, 223, 223)), chances=(0.2, 0.2, 0.6)))
    assert verdict.mask is None
    assert verdict.regions[0].box == (0, 0, 448, 112)
    assert any("no segmenter" in text for text in verdict.warnings)


def test_a_segmenter_that_cannot_be_loaded_costs_the_mask_alone() -> None:
    def missing() -> object:
        raise UsageError("it is not there.")

    detector = SoFakeDetector(Scripted(write(Label.TAMPERED, (9, 9, 20, 20))), "x", find_segmenter=missing)
    (verdict,) = detector.judge([open_picture(picture("fake"))], explain=True)
    assert verdict.mask is None
    assert "no mask: it is not there." in verdict.warnings
    assert len(verdict.regions) == 1


@pytest.mark.parametrize(
    "text", ["", "I cannot tell.", "<think>REAL</think><answer>TAMP", "真实", "REAL TAMPERED"]
)
def test_an_answer_without_a_class_is_inconclusive_and_never_a_guess(text: str) -> None:
    verdict = judge(Scripted(text))
    assert verdict.inconclusive
    assert "the answer names no class" in verdict.warnings
    assert set(verdict.probabilities.values()) == {1 / 3}
    assert verdict.regions == []


def test_self_consistency_gives_shares_and_the_box_that_most_agree_on() -> None:
    texts = [
        write(Label.TAMPERED, (0, 0, 20, 20)),
        write(Label.TAMPERED, (100, 100, 150, 150)),
        write(Label.TAMPERED, (102, 98, 152, 149)),
        write(Label.REAL),
        "nonsense",
    ]
    verdict = judge(Scripted(*texts), samples=5)
    assert verdict.probabilities == {Label.REAL: 0.25, Label.FULL_SYNTHETIC: 0.0, Label.TAMPERED: 0.75}
    assert verdict.regions[0].box[0] > 180
    assert not verdict.inconclusive


def test_likelihoods_against_the_answers_class_make_it_inconclusive() -> None:
    assert judge(Scripted(write(Label.REAL), chances=(0.3, 0.6, 0.1))).inconclusive


def test_greedy_answers_do_not_depend_on_the_batch(policy: Policy) -> None:
    pixels = [picture("real", (90, 40)), picture("fake", (50, 70))]
    together = policy.greedy(pixels, max_new_tokens=12)
    alone = [policy.greedy([shown], max_new_tokens=12)[0] for shown in pixels]
    assert [answer.text for answer in together] == [answer.text for answer in alone]


def test_samples_are_decided_by_the_seed(policy: Policy) -> None:
    first, again, other = (
        policy.samples(picture("real"), 3, seed=seed, max_new_tokens=8) for seed in (1, 1, 2)
    )
    assert [answer.text for answer in first] == [answer.text for answer in again]
    assert [answer.text for answer in first] != [answer.text for answer in other]


def test_the_class_has_the_likelihood_of_the_step_that_wrote_it(policy: Policy) -> None:
    ids = policy.tokenizer("<answer>TAMPERED</answer>", add_special_tokens=False)["input_ids"]
    heard = [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert policy._completion([*ids, policy.ends[0]], heard) == Completion(
        "<answer>TAMPERED</answer>", (0.2, 0.3, 0.5), False
    )


@pytest.mark.parametrize("make", [make_sam, make_sam2])
@pytest.mark.parametrize("size", [(90, 60), (40, 100), (64, 64)])
def test_the_segmenter_answers_a_box_with_a_map_of_the_pictures_size(make, size, tmp_path: Path) -> None:
    make(tmp_path)
    segmenter = load_segmenter(tmp_path, "cpu", torch.float32)
    pixels = picture("fake", size)
    heat = segmenter.mask(pixels, (5, 5, 30, 30))
    assert heat.shape == pixels.shape[:2]
    assert 0 <= heat.min() <= heat.max() <= 1
    assert np.abs(heat - segmenter.mask(pixels, (20, 25, 38, 39))).max() > 1e-6


def test_sams_mask_is_that_of_transformers_own_processing(sam: Path) -> None:
    from PIL import Image
    from transformers import SamImageProcessorPil, SamModel, SamProcessor

    pixels, box = picture("real", (90, 60)), (10, 5, 50, 40)
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(sam))
    model = SamModel.from_pretrained(sam).eval()
    inputs = processor(Image.fromarray(pixels), input_boxes=[[list(map(float, box))]], return_tensors="pt")
    sizes = (inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes"))
    with torch.no_grad():
        out = model(**inputs, multimask_output=True)
    padded = {"height": model.config.vision_config.image_size, "width": model.config.vision_config.image_size}
    (masks,) = processor.image_processor.post_process_masks(
        out.pred_masks, *sizes, binarize=False, pad_size=padded
    )
    expected = masks[0][int(out.iou_scores[0, 0].argmax())].sigmoid().numpy()
    assert Segmenter(model, processor.image_processor).mask(pixels, box) == pytest.approx(expected, abs=1e-4)


def test_check_with_a_folder_its_settings_and_its_segmenter(
    folder: Path, sam: Path, pictures: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "checkpoint"
    shutil.copytree(folder, copy)
    shutil.copytree(sam, copy / "sam")
    for settings in ({"segmenter": "sam", "max_new_tokens": 6}, {"samples": 3, "max_new_tokens": 6}):
        (copy / "detector.json").write_text(json.dumps(settings))
        arguments = ["check", *map(str, pictures[:2]), "--model", str(copy), "--format", "json"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.stderr
        first, second = json.loads(result.stdout)
        assert first["error"] is None
        assert second["error"] is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"samples": "x"}', '{"samples": 1000}', '{"sample": 1}', '{"temperature": 0}']
)
def test_settings_that_make_no_sense_are_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_text(text)
    with pytest.raises(UsageError, match="detector"):
        read_settings(tmp_path)


def test_a_checkpoint_without_processor_or_template_is_told(folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "chat_template.jinja", "config.json"):
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        (copy / name).unlink()
        with pytest.raises(UsageError):
            load(str(copy), "cpu")
