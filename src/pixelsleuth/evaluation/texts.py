"""Explanation figures of a frame: ROUGE-L and CSS with their baselines where the data hold reference texts, and claim
accuracy where a claim can be checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pixelsleuth.errors import MissingExtra
from pixelsleuth.evaluation.figures import Frame
from pixelsleuth.evaluation.metrics import claims, explanation
from pixelsleuth.evaluation.metrics.resampling import Bootstrap, weighted_mean

STEMMER = False


def explanation_figures(
    frame: Frame, *, encoder: Any = None, resamples: int, seed: int = 0
) -> dict[str, Any] | None:
    """The part `explanation` of a condition; None where nothing was explained."""
    rows = [row for row in frame.rows if row.get("explanation")]
    if not rows:
        return None
    scores = claims.ClaimScores()
    for row in rows:
        scores.update(row.get("claims") or {})
    result: dict[str, Any] = {"texts": len(rows), "claims": scores.compute()}
    told = [row for row in rows if row.get("reference")]
    if not told:
        return result | {"note": "The data hold no reference texts, so ROUGE-L and CSS are not defined."}
    said, references = [row["explanation"] for row in told], [row["reference"] for row in told]
    labels = [row["label"] for row in told]
    draws = Bootstrap([str(row["group"] or row["path"]) for row in told], resamples=resamples, seed=seed)
    result |= {"references": len(told), "stemmer": STEMMER}
    try:
        measured = explanation.with_baselines(
            said, references, labels, lambda a, b: explanation.rouge_l(a, b, stemmer=STEMMER), seed=seed
        )
        result["rouge_l"] = _with_interval(measured, draws)
        if encoder is not None:
            result["css_encoder"] = encoder.name
            measured = explanation.with_baselines(
                said, references, labels, lambda a, b: explanation.css(a, b, encoder), seed=seed
            )
            result["css"] = _with_interval(measured, draws)
    except MissingExtra as error:
        result["note"] = str(error)
    return result


def _with_interval(measured: dict[str, Any], draws: Bootstrap) -> dict[str, Any]:
    low, high = draws.interval(weighted_mean(measured["value"]))
    means = {name: float(np.mean(values)) for name, values in measured.items()}
    return {"value": means.pop("value"), "low": low, "high": high, "baselines": means}
