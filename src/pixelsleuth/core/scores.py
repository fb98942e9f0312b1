"""A detector's scores on pictures of sources that were left out of training: what its decision is fitted on.

They lie in `decision.json` of a model folder, schema `pixelsleuth.decision/1` (docs/background/decision.md). A row
holds the source, the true label, what was done to the picture before it was judged, and the class probabilities of the
picture and its re-saves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import UsageError

SCHEMA = "pixelsleuth.decision/1"
FILE = "decision.json"
SCALE = 1000
"""Scores are stored as whole thousandths."""
MOST_BYTES = 32_000_000
MOST_ROWS = 200_000
MOST_NAMES = 5_000
MOST_RESAVES = 8

Claims = dict[str, dict[str, tuple[int, int]]]


@dataclass(frozen=True)
class Scores:
    """N judged pictures of sources left out of training.

    `source`, `label`, `kind` (N,) are indices into `sources`, `LABELS`, `kinds`; `views` (N, 1 + resaves, 3) holds
    probabilities in thousandths: of the picture itself, then of each re-save. `claims`: kind of claim -> its words (""
    for all) -> (right, of), for pictures with a conclusive verdict of tampering.
    """

    how: str
    resaves: tuple[str, ...]
    sources: tuple[str, ...]
    kinds: tuple[str, ...]
    source: NDArray[np.int64]
    label: NDArray[np.int64]
    kind: NDArray[np.int64]
    views: NDArray[np.int64]
    claims: Claims = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)


def read_scores(path: Path) -> Scores | None:
    """The scores in `path`, None where there is no such file.

    Raises UsageError for a file that is too large, damaged, or of another schema.
    """
    if not path.is_file():
        return None
    damaged = (
        f"{path} is damaged: export the model again, or remove the file (verdicts are then inconclusive)."
    )
    if path.stat().st_size > MOST_BYTES:
        raise UsageError(damaged)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return scores_of(content)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise UsageError(f"{damaged[:-1]} ({error}).") from None


def scores_of(content: Mapping[str, Any]) -> Scores:
    """The scores of a decision file's content; unknown keys are ignored.

    Raises ValueError, TypeError or KeyError where the content is not of the schema.
    """
    from pixelsleuth.core.resaves import check_resave

    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']!r} is not {SCHEMA}")
    if content["classes"] != [str(label) for label in LABELS]:
        raise ValueError("the classes are not real, full_synthetic, tampered")
    resaves, sources, kinds = (_names(content[key], key) for key in ("resaves", "sources", "kinds"))
    if len(resaves) > MOST_RESAVES:
        raise ValueError("too many re-saves")
    for spec in resaves:
        check_resave(spec)
    rows = content["rows"]
    counts = {"source": len(sources), "label": len(LABELS), "kind": len(kinds)}
    columns = {key: _whole(rows[key], key, most - 1) for key, most in counts.items()}
    views = _whole(rows["scores"], "scores", SCALE, width=3 * (1 + len(resaves)))
    if len({len(views), *map(len, columns.values())}) != 1:
        raise ValueError("the columns of its rows differ in length")
    return Scores(
        how=str(content.get("how", ""))[:500],
        resaves=resaves,
        sources=sources,
        kinds=kinds,
        views=views.reshape(len(views), 1 + len(resaves), 3),
        claims=_claims(content.get("claims") or {}),
        **columns,
    )


def _names(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_NAMES or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{key} is no list of names")
    return tuple(name[:100] for name in value)


def _whole(value: Any, key: str, most: int, *, width: int = 0) -> NDArray[np.int64]:
    """`value` as whole numbers 0..most, (N,) or (N, width)."""
    if not isinstance(value, list) or len(value) > MOST_ROWS:
        raise ValueError(f"{key} is no list of at most {MOST_ROWS} rows")
    numbers = np.array(value) if value else np.zeros((0, width) if width else 0, np.int64)
    shape = (len(value), width) if width else (len(value),)
    if numbers.dtype.kind not in "iu" or numbers.shape != shape:
        raise ValueError(f"{key} does not hold whole numbers of shape {shape}")
    if numbers.size and not 0 <= numbers.min() <= numbers.max() <= most:
        raise ValueError(f"{key} holds a number outside 0..{most}")
    return numbers.astype(np.int64)


def _claims(content: Mapping[str, Any]) -> Claims:
    claims: Claims = {}
    for kind, measured in content.items():
        claims[str(kind)] = {}
        for words, (right, of) in measured.items():
            if not (type(right) is int and type(of) is int and 0 <= right <= of):
                raise ValueError(f"the claims of {kind} are not [right, of]")
            claims[str(kind)][str(words)] = (right, of)
    return claims
