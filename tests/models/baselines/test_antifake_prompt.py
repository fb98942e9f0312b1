"""AntifakePrompt on a small random InstructBLIP: the pseudo word, the order of answers, what a checkpoint holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pixelsleuth.errors import UsageError
from pixelsleuth.models.baselines.antifake_prompt import PUBLISHED, QUESTION, AntifakePrompt, Backbone
from pixelsleuth.models.weights import load_strict

WIDTH = 32


@pytest.fixture(scope="module")
def rows() -> dict[str, torch.Tensor]:
    """A checkpoint as LAVIS leaves it: two rows, and a buffer that nobody needs."""
    torch.manual_seed(5)
    state = {key: torch.randn(1, WIDTH) for key in PUBLISHED}
    return state | {"Qformer.bert.embeddings.position_ids": torch.arange(8)[None]}


@pytest.fixture(scope="module")
def network(backbone: Callable[[], Backbone], rows: dict[str, torch.Tensor]) -> AntifakePrompt:
    network = AntifakePrompt(backbone())
    load_strict(network, dict(rows))
    return network.eval()


@pytest.fixture(scope="module")
def folder(backbone: Callable[[], Backbone], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backbone on disk, as the hub lays it out."""
    folder = tmp_path_factory.mktemp("instructblip")
    model, words, first_words = backbone()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    first_words.save_pretrained(folder / "qformer_tokenizer")
    return folder


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (260, 301, 3), np.uint8)


def test_the_logit_is_the_difference_of_both_answers_losses(
    network: AntifakePrompt, backbone: Callable[[], Backbone], rows: dict[str, torch.Tensor]
) -> None:
    """Against transformers' own forward, with the pseudo word as a real row of both tables and labels on the answer."""
    model, words, first_words = backbone()
    for tokenizer in (words, first_words):
        tokenizer.add_tokens(["[*]"], special_tokens=True)
    first, second = (rows[key] for key in PUBLISHED)
    table = model.qformer.embeddings.word_embeddings
    table.weight = torch.nn.Parameter(torch.cat([table.weight, first]))
    head = model.language_model.lm_head.weight.detach()
    model.language_model.resize_token_embeddings(len(words) + 1, mean_resizing=False)
    model.config.text_config.vocab_size = len(words) + 1
    model.config.image_token_id = len(words)
    with torch.no_grad():
        model.language_model.model.embed_tokens.weight[len(words) - 1] = second[0]
        model.language_model.lm_head.weight[: len(head)] = head
        model.language_model.lm_head.weight[len(head) :] = 0
    pixels = network.prepare(picture())[None]
    question = [words.eos_token_id, *words(QUESTION, add_special_tokens=False)["input_ids"]]
    losses = []
    for answer in ("yes", "no"):
        ids = [len(words)] * 3 + question + words(answer, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(
                pixel_values=pixels,
                qformer_input_ids=torch.tensor([first_words(QUESTION)["input_ids"]]),
                input_ids=torch.tensor([ids]),
            ).logits
        losses.append(torch.nn.functional.cross_entropy(logits[0, -2:-1], torch.tensor(ids[-1:])))
    with torch.inference_mode():
        ours = network.run([pixels[0]]).logit
    assert abs(float(ours)) > 1e-3
    assert float(ours) == pytest.approx(float(losses[0] - losses[1]), abs=1e-4)


def test_the_pseudo_word_matters_in_both_places(network: AntifakePrompt) -> None:
    prepared = [network.prepare(picture())]
    for name, row in network.named_parameters():
        if not name.endswith(".row"):
            assert not row.requires_grad
            continue
        kept = row.detach().clone()
        with torch.inference_mode():
            before = network.run(prepared).logit
        with torch.no_grad():
            row += torch.randn(row.shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            assert not torch.equal(network.run(prepared).logit, before), name
        with torch.no_grad():
            row.copy_(kept)


def test_the_question_begins_with_the_end_token(network: AntifakePrompt) -> None:
    assert network.question_ids[0].tolist() == [2, 3, 4, 5, 6, 12, 7]
    assert network.qformer_ids[0].tolist() == [10, 3, 4, 5, 6, 12, 7, 11]


def test_training_teaches_the_answer(backbone: Callable[[], Backbone]) -> None:
    learner = AntifakePrompt(backbone()).train()
    learns = [weights for weights in learner.parameters() if weights.requires_grad]
    assert sum(weights.numel() for weights in learns) == 2 * WIDTH
    optimiser = torch.optim.AdamW(learns, 0.05)
    inputs = [learner.prepare(picture(seed)) for seed in range(2)]
    losses = []
    for _ in range(20):
        loss = learner.loss(inputs, torch.tensor([1, 1]), [None, None])["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_from_the_command_line(
    folder: Path, backbone: Callable[[], Backbone], rows: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    from pixelsleuth.cli.main import main

    torch.save({"model": rows, "epoch": 3}, tmp_path / "COCO_150k_SD2_SD2IP.pth")
    Image.fromarray(picture()).save(tmp_path / "one.png")
    arguments = ["check", tmp_path / "one.png", "--model", "antifake_prompt", "--format", "json"]
    arguments += ["--weights", tmp_path / "COCO_150k_SD2_SD2IP.pth", "--option", f"backbone={folder}"]
    result = CliRunner().invoke(main, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["probabilities"]["tampered"] == 0
    network = AntifakePrompt(backbone())
    load_strict(network, dict(rows))
    with torch.inference_mode():
        logit = network.run([network.prepare(picture())]).logit
    assert record["probabilities"]["full_synthetic"] == pytest.approx(float(logit.sigmoid()), abs=1e-4)


def test_a_backbone_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(UsageError, match="is a checkpoint of llava, not of InstructBLIP"):
        AntifakePrompt(str(tmp_path))


def test_a_tokenizer_without_the_answers_is_refused(backbone: Callable[[], Backbone]) -> None:
    from tokenizers.models import WordLevel

    made = backbone()
    made.tokenizer.backend_tokenizer.model = WordLevel({"<unk>": 0}, "<unk>")
    with pytest.raises(UsageError, match="yes and no as one token each"):
        AntifakePrompt(made)
