"""Explanations against reference texts: ROUGE-L, cosine of sentence embeddings (CSS), and baselines beside them.

Both measures reward the right words, not the right facts: a sentence that is the same for every picture can score high.
So the baselines are part of every result: one constant text, and the detector's own texts dealt to the wrong pictures.
`claims` measures facts. ROUGE-L: Lin 2004, F with beta 1, by the rouge-score package (`stemmer` is recorded). CSS: its
value depends on the encoder, so the encoder's id is part of the result; values of different encoders do not compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import MissingExtra, UsageError

Floats = NDArray[np.float64]
MEDOID_SAMPLE = 60
"""References among which the constant baseline is chosen."""


def rouge_l(texts: Sequence[str], references: Sequence[str], *, stemmer: bool = False) -> Floats:
    """(N,) ROUGE-L F of each text against its reference, 0..1. Raises MissingExtra without rouge-score.

    >>> rouge_l(["the hand has six fingers"], ["the left hand has six fingers"]).round(3).tolist()
    [0.909]
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise MissingExtra("rouge-score", "eval") from None
    scorer = RougeScorer(["rougeL"], use_stemmer=stemmer)
    pairs = zip(texts, references, strict=True)
    return np.array([scorer.score(reference, text)["rougeL"].fmeasure for text, reference in pairs])


class SentenceEncoder:
    """A sentence-transformers model by hub id or folder; `name` is what results print.

    Raises MissingExtra without the package, UsageError where the model cannot be loaded.
    """

    def __init__(self, name: str, *, device: str = "cpu") -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise MissingExtra("sentence-transformers", "eval") from None
        self.name = name
        try:
            self._model = SentenceTransformer(name, device=device, trust_remote_code=False)
        except Exception as error:  # of many libraries: hub, safetensors, tokenizers
            first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise UsageError(
                f"The sentence encoder {name} cannot be loaded ({first}); name a hub id or a folder that holds one."
            ) from error

    def encode(self, texts: Sequence[str]) -> Floats:
        """(N, D) of unit length."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float64)


def css(texts: Sequence[str], references: Sequence[str], encoder: Any) -> Floats:
    """(N,) cosine of the embeddings of each text and its reference, -1..1; `encoder` has `encode(texts)`.

    >>> class Encoder:
    ...     def encode(self, texts):
    ...         return [[text.count("six"), text.count("hand")] for text in texts]
    >>> css(["six fingers"], ["a hand with six fingers"], Encoder()).round(3).tolist()
    [0.707]
    """
    if not texts:
        return np.zeros(0)
    a, b = (_unit(np.asarray(encoder.encode(list(batch)), dtype=np.float64)) for batch in (texts, references))
    return np.asarray((a * b).sum(1))


def constant_text(references: Sequence[str], *, stemmer: bool = False) -> str:
    """The reference most like the others (by ROUGE-L, among at most 60 spread over the list).

    >>> constant_text(["a dog is blurred", "a dog is blurred here", "nothing"])
    'a dog is blurred'
    """
    unique = list(dict.fromkeys(references))
    step = max(1, -(-len(unique) // MEDOID_SAMPLE))
    sample = unique[::step]
    if not sample:
        return ""
    means = [rouge_l([text] * len(sample), sample, stemmer=stemmer).mean() for text in sample]
    return sample[int(np.argmax(means))]


def dealt_wrong(texts: Sequence[str], seed: int = 0) -> list[str]:
    """The same texts, none (of two or more) where it was: a seeded cycle through all of them.

    >>> dealt_wrong(["a", "b", "c"])
    ['c', 'a', 'b']
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    shuffled = [""] * len(texts)
    for here, there in zip(order, np.roll(order, 1), strict=True):
        shuffled[int(here)] = texts[int(there)]
    return shuffled


def label_swapped(references: Sequence[str], labels: Sequence[str]) -> list[str]:
    """For each picture a reference of another class (the next one down the list); its own where all share a class.

    >>> label_swapped(["a", "b", "c"], ["real", "real", "tampered"])
    ['c', 'c', 'a']
    """
    count = len(references)
    swapped = []
    for i in range(count):
        other = next((j % count for j in range(i + 1, i + count) if labels[j % count] != labels[i]), i)
        swapped.append(references[other])
    return swapped


def with_baselines(
    texts: Sequence[str],
    references: Sequence[str],
    labels: Sequence[str],
    measure: Callable[[Sequence[str], Sequence[str]], Floats],
    *,
    seed: int = 0,
) -> dict[str, Floats]:
    """(N,) of `measure` for the texts, for one constant text, for shuffled texts, and for references of a wrong
    class.

    >>> texts, references = ["a dog is blurred", "a real street"], ["the dog is blurred", "a real photo"]
    >>> figures = with_baselines(texts, references, ["tampered", "real"], rouge_l)
    >>> {name: round(float(values.mean()), 2) for name, values in figures.items()}
    {'value': 0.71, 'constant_text': 0.5, 'shuffled': 0.14, 'wrong_class': 0.0}
    """
    constant = constant_text(references)
    return {
        "value": measure(texts, references),
        "constant_text": measure([constant] * len(references), references),
        "shuffled": measure(dealt_wrong(texts, seed), references),
        "wrong_class": measure(label_swapped(references, labels), references),
    }


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
