"""ROUGE-L, CSS with a tiny encoder, baselines, and claims against records."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pixelsleuth.compact import grammar
from pixelsleuth.errors import UsageError
from pixelsleuth.evaluation.metrics import claims, explanation

TEXTS = [
    "The image is fake. The hand has six fingers; the shadow falls the wrong way.",
    "The image is real. Light and shadow agree; texture is natural.",
    "a cat",
    "",
    "In the centre a region was pasted from another picture.",
]


def lcs(a: list[str], b: list[str]) -> int:
    """Longest common subsequence, by the textbook."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence() -> None:
    pytest.importorskip("rouge_score")
    import re

    for written in TEXTS:
        for reference in TEXTS:
            a, b = (re.findall(r"[a-z0-9]+", text.lower()) for text in (written, reference))
            common = lcs(a, b)
            expected = 2 * common / (len(a) + len(b)) if common else 0.0
            assert explanation.rouge_l([written], [reference])[0] == pytest.approx(expected)


def test_baselines_stand_beside_every_figure() -> None:
    pytest.importorskip("rouge_score")
    texts = ["one two three", "four five six", "seven eight nine"]
    figures = explanation.with_baselines(texts, texts, ["real", "tampered", "real"], explanation.rouge_l)
    assert figures["value"].tolist() == [1, 1, 1]
    assert figures["shuffled"].tolist() == [0, 0, 0]
    assert sorted(figures["constant_text"].tolist()) == [0, 0, 1]
    assert figures["wrong_class"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [2, 3, 50])
def test_no_shuffled_text_stays_where_it_was(count: int) -> None:
    texts = [str(i) for i in range(count)]
    dealt = explanation.dealt_wrong(texts, seed=count)
    assert sorted(dealt) == sorted(texts)
    assert all(a != b for a, b in zip(dealt, texts, strict=True))


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random sentence-transformers model of 16 dimensions, saved as any published one is."""
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = sorted({word for text in TEXTS for word in text.lower().replace(".", " ").split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words) + 5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=64)  # fmt: skip
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=32)
    SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu").save(str(folder / "model"))
    return folder / "model"


def test_css_is_the_cosine_of_the_encoder_that_is_named(tiny_encoder: Path) -> None:
    encoder = explanation.SentenceEncoder(str(tiny_encoder))
    assert encoder.name == str(tiny_encoder)
    texts, references = TEXTS[:2], [TEXTS[0], TEXTS[4]]
    vectors = [np.asarray(encoder._model.encode(batch), dtype=float) for batch in (texts, references)]
    expected = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(*vectors, strict=True)]
    similarity = explanation.css(texts, references, encoder)
    np.testing.assert_allclose(similarity, expected, atol=1e-5)
    assert similarity[0] == pytest.approx(1, abs=1e-5)
    assert similarity[1] < 0.999


def test_an_encoder_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UsageError, match="cannot be loaded"):
        explanation.SentenceEncoder(str(tmp_path))


@pytest.mark.parametrize("label", ["real", "full_synthetic", "tampered"])
def test_every_sentence_of_the_grammar_gives_back_its_claims(label: str) -> None:
    for words in grammar.sentences(label)[::37]:
        text = grammar.prose(" ".join(words))
        extracted = claims.claims_of(text)
        assert extracted["label"] == label
        if label == "tampered":
            parsed = grammar.parse(" ".join(words))
            assert parsed is not None
            assert (extracted["place"], extracted["size"]) == (parsed["place"], parsed["size"])
            assert grammar.OPERATIONS[extracted["operation"]] == parsed["operation"]


def test_claims_are_checked_against_the_record_one_by_one() -> None:
    mask = np.zeros((90, 90), bool)
    mask[5:25, 65:85] = True  # upper right, 4.9 %
    record = {"label": "tampered", "operation": "splice", "object": "dog", "replacement": "cat"}
    truth = claims.truth_of(record, mask)
    right = "In the upper right, 2 to 5 % of the picture was pasted from another picture: a cat."
    assert claims.check_claims(right, truth) == dict.fromkeys(
        ("label", "place", "size", "operation", "object"), "right"
    )
    wrong = "The tampered area is the bottom left; 30% was removed."
    assert claims.check_claims(wrong, truth) == {
        "label": "right", "place": "wrong", "size": "wrong", "operation": "wrong", "object": "unsaid",
    }  # fmt: skip
    assert claims.check_claims("The tampered dog.", {"label": "tampered"}) == {"label": "right"}
    assert claims.check_claims("tampered, in the centre", {})["place"] == "unchecked"
    assert claims.check_claims("tampered, in the centre", {"label": "real"})["place"] == "wrong"
    assert claims.check_claims("real, with light from the left", {"label": "real"}) == {
        "label": "right", "place": "unchecked",
    }  # fmt: skip


def test_saying_little_shows_in_the_coverage() -> None:
    scores = claims.ClaimScores()
    scores.update({"place": "right", "operation": "unsaid"})
    scores = scores.merge(
        claims.ClaimScores({"place": {"right": 0, "wrong": 1, "unchecked": 0, "unsaid": 0}})
    )
    extracted = scores.compute()
    assert extracted["place"]["accuracy"] == 0.5
    assert extracted["all"]["coverage"] == pytest.approx(2 / 3)
    assert math.isnan(extracted["operation"]["accuracy"])


@pytest.mark.parametrize(
    "truth, outcome", [("real", "wrong"), ("full_synthetic", "right"), ("tampered", "right")]
)
def test_a_text_that_leaves_open_which_kind_of_fake_is_wrong_on_real_pictures_alone(
    truth: str, outcome: str
) -> None:
    text = "This picture is fake."
    assert claims.claims_of(text)["label"] == "fake"
    assert claims.check_claims(text, {"label": truth})["label"] == outcome
