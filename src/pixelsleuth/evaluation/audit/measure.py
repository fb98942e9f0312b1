"""How well three classifiers predict the label without the traces of a forgery. Every picture is read once.

*Headers*: the file before a pixel is decoded. *Text*: descriptions or captions. *Thumbnails*: the picture at 24 x 24
pixels, too small for any trace of editing, so that content, colour and framing remain. With a `Treatment` the same is
measured on what `data.equalise` makes of the files.

Run: `pixelsleuth audit DATA --out DIR`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.equalise import SizePolicy, draw_for, equalised
from pixelsleuth.data.listing import Listing, list_data
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import PictureError, UsageError
from pixelsleuth.evaluation.audit.headers import FEATURES, GROUPS, header_features
from pixelsleuth.evaluation.audit.leak import Labels, leak
from pixelsleuth.pictures.files import read_file
from pixelsleuth.pictures.images import open_picture

THUMBNAIL = 24
SPLITS = ("train", "training", "validation", "val", "eval", "test")
COMPONENTS = 48
"""Principal components of the thumbnails that the classifier gets."""


@dataclass(frozen=True)
class Treatment:
    """How the files are equalised: one size rule, and a JPEG quality drawn from `low`..`high` without the label."""

    size: SizePolicy = field(default_factory=lambda: SizePolicy("crop", 256))
    low: int = 75
    high: int = 95
    seed: int = 0

    def tell(self) -> str:
        """The treatment in words."""
        rule = {
            "native": "native size",
            "crop": f"the middle {self.size.side} x {self.size.side} pixels",
            "fit": f"longer side scaled to {self.size.side} pixels",
        }
        return f"{rule[self.size.kind]}, one JPEG pass at quality {self.low} to {self.high}, no metadata"


@dataclass
class Looked:
    """What was read: `headers` (N, F), `thumbnails` (N, 24, 24, 3) uint8, `texts` (N); `skipped` could not be read."""

    labels: Labels
    headers: np.ndarray
    thumbnails: np.ndarray
    texts: list[str]
    skipped: list[dict[str, str]]
    enlarged: int = 0


def together(parts: list[Looked]) -> Looked:
    """Several parts of a data set as one."""
    labels = [part.labels for part in parts]
    return Looked(
        Labels(
            *(
                np.concatenate([getattr(entry, name) for entry in labels])
                for name in ("label", "source", "unit")
            )
        ),
        np.concatenate([part.headers for part in parts]),
        np.concatenate([part.thumbnails for part in parts]),
        [text for part in parts for text in part.texts],
        [entry for part in parts for entry in part.skipped],
        sum(part.enlarged for part in parts),
    )


def look(
    samples: Iterable[Sample],
    *,
    treatment: Treatment | None = None,
    workers: int = 2,
    step: Callable[[], None] = lambda: None,
) -> Looked:
    """Read every sample once and keep its numbers; a picture that cannot be read stands in `skipped`."""
    rows, small, kept, skipped, enlarged = [], [], [], [], 0

    def read(sample: Sample) -> tuple[Sample, np.ndarray, np.ndarray, bool] | tuple[Sample, PictureError]:
        try:
            return (sample, *_features(sample, treatment))
        except PictureError as error:
            return sample, error

    with ThreadPoolExecutor(workers) as pool:
        for result in _in_order(pool, read, iter(samples), ahead=4 * workers):
            step()
            if len(result) == 2:
                skipped.append({"path": str(result[0].path), **result[1].to_dict()})
                continue
            sample, header, thumbnail, grown = result
            kept.append(sample)
            rows.append(header)
            small.append(thumbnail)
            enlarged += grown
    labels = Labels(
        np.array([str(s.label) for s in kept], dtype=object),
        np.array([s.source or "(no source)" for s in kept], dtype=object),
        np.array([s.unit for s in kept], dtype=object),
    )
    headers = np.array(rows, dtype=np.float64).reshape(len(kept), len(FEATURES))
    thumbs = np.array(small, dtype=np.uint8).reshape(len(kept), THUMBNAIL, THUMBNAIL, 3)
    return Looked(labels, headers, thumbs, [s.description for s in kept], skipped, enlarged)


def _in_order(pool: ThreadPoolExecutor, work: Callable, items: Iterator, *, ahead: int) -> Iterator[Any]:
    """Results in the order of `items`, with a bounded number under way."""
    from collections import deque

    waiting = deque(pool.submit(work, item) for item in islice(items, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(work, item) for item in islice(items, 1))


def _features(sample: Sample, treatment: Treatment | None) -> tuple[np.ndarray, np.ndarray, bool]:
    name, grown = str(sample.path), False
    data = getattr(sample, "data", None) or bytes(read_file(name, name))  # readers of shards give the bytes
    if treatment is not None:
        how = draw_for(_stable(sample), treatment.seed, low=treatment.low, high=treatment.high)
        result = equalised(data, how, size=treatment.size, name=name)
        data, pixels, grown = result.data, result.pixels, result.enlarged
        features = header_features(data, "equalised.jpg")
    else:
        features = header_features(data, name)
        pixels = open_picture(data, name=name).pixels
    thumbnail = cv2.resize(pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.array([features[key] for key in FEATURES]), np.asarray(thumbnail, dtype=np.uint8), grown


def _stable(sample: Sample) -> str:
    """What the draw depends on: the file's name; not its folder, which may name the class, and not the label."""
    return sample.path.name


def _ranked_tables(headers: np.ndarray) -> np.ndarray:
    """The headers with quantisation tables as ranks (1: the most common), so that a tree can split rare from common."""
    column = FEATURES.index("table_id")
    common = [value for value, _ in Counter(headers[:, column].tolist()).most_common() if value]
    rank = {value: index + 1.0 for index, value in enumerate(common)}
    headers = headers.copy()
    headers[:, column] = [rank.get(value, 0.0) for value in headers[:, column]]
    return headers


def audit_headers(looked: Looked, *, seed: int = 0) -> dict[str, Any]:
    """All header features together, and each kind of them alone (`by_kind`)."""
    headers = _ranked_tables(looked.headers)
    figures = leak(headers, looked.labels, boosted, seed=seed)
    if figures["auroc"] is not None:
        kinds = {}
        for kind, names in GROUPS.items():
            columns = [FEATURES.index(name) for name in names]
            part = headers[:, columns]
            varies = bool((part != part[:1]).any())
            kinds[kind] = leak(part, looked.labels, boosted, seed=seed)["auroc"] if varies else 0.5
        figures["by_kind"] = kinds
    return figures


def audit_thumbnails(looked: Looked, *, seed: int = 0) -> dict[str, Any]:
    """Thumbnails: principal components of the pixels, then boosted trees."""
    flat = looked.thumbnails.reshape(len(looked.thumbnails), -1).astype(np.float32) / 255
    return leak(flat, looked.labels, reduced, seed=seed)


def audit_text(looked: Looked, *, seed: int = 0) -> dict[str, Any]:
    """Descriptions: TF-IDF of words and pairs of words, then logistic regression. `words`: those of most weight."""
    has = np.array([bool(text.strip()) for text in looked.texts], dtype=bool)
    counts = {
        name: int(has[looked.labels.label == name].sum())
        for name in sorted(set(looked.labels.label.tolist()))
    }
    if not has.any():
        return {"auroc": None, "why": "there are no descriptions", "pictures": 0}
    texts = np.array([text for text in looked.texts if text.strip()], dtype=object)
    labels = looked.labels.take(has)
    figures = leak(texts, labels, words, seed=seed) | {"with_text": counts}
    if figures["auroc"] is not None:
        figures["words"] = _telling_words(texts, labels, seed)
    return figures


def boosted(pictures: int, seed: int) -> Any:
    """Boosted trees for tables of numbers."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    leaf = max(2, min(20, pictures // 40))
    return HistGradientBoostingClassifier(
        max_iter=40,
        learning_rate=0.2,
        max_leaf_nodes=15,
        min_samples_leaf=leaf,
        early_stopping=False,
        random_state=seed,
    )


def reduced(pictures: int, seed: int) -> Any:
    """Principal components, then boosted trees."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    components = max(2, min(COMPONENTS, pictures // 4))
    return make_pipeline(PCA(components, svd_solver="randomized", random_state=seed), boosted(pictures, seed))


def words(pictures: int, seed: int) -> Any:
    """TF-IDF of words and pairs of words, then logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    fewest = 2 if pictures >= 50 else 1
    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=fewest, sublinear_tf=True, max_features=50_000)
    return make_pipeline(counts, LogisticRegression(max_iter=300, C=10.0, random_state=seed))


def _telling_words(texts: np.ndarray, labels: Labels, seed: int) -> dict[str, list[str]]:
    """The words of most weight of each class."""
    model = words(len(texts), seed).fit(texts, labels.label.astype(str))
    names, weights = model[0].get_feature_names_out(), model[1].coef_
    if len(weights) == 1:
        weights = np.concatenate([-weights, weights])
    return {
        str(name): [str(names[i]) for i in np.argsort(-row)[:8]]
        for name, row in zip(model[1].classes_, weights, strict=True)
    }


def three(looked: Looked, *, seed: int = 0) -> dict[str, Any]:
    """Headers, text and thumbnails, each with its AUROC and what it rests on."""
    return {
        "headers": audit_headers(looked, seed=seed),
        "text": audit_text(looked, seed=seed),
        "thumbnails": audit_thumbnails(looked, seed=seed),
    }


def parts_of(
    data: Path | str,
    split: str | None = None,
    *,
    reader: str | None = None,
    settings: Mapping[str, str] | None = None,
    allow_outside: bool = False,
) -> dict[str | None, Listing]:
    """The labelled pictures of anything that `open_data` reads, by split (None where the set names none).

    Raises UsageError where `data` holds nothing, or no such split.
    """
    whole = list_data(data, split=split, reader=reader, settings=settings, allow_outside=allow_outside)
    if not whole:
        why = f" {whole.left_out.sentence()}" if whole.left_out else ""
        raise UsageError(f"{data} holds no labelled picture; the classes are {', '.join(LABELS)}.{why}")
    names = sorted({sample.split for _, sample in whole.light})
    return {
        name or None: whole.only(index for index, sample in whole.light if sample.split == name)
        for name in names
    }
