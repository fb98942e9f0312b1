"""Paired differences: two detectors on the same pictures, so that the difficulty of the pictures cancels.

`pixelsleuth compare A B` reads two folders of `evaluate`; a run with several detectors compares them by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelsleuth.errors import UsageError
from pixelsleuth.evaluation.figures import Frame, statistics
from pixelsleuth.evaluation.judging import CLEAN
from pixelsleuth.evaluation.metrics.resampling import Bootstrap, interval_of
from pixelsleuth.evaluation.predictions import LOG, Row, read_head, read_rows
from pixelsleuth.evaluation.protocols import get_protocol
from pixelsleuth.evaluation.summary import Settings


def paired_differences(
    first: Sequence[Row], second: Sequence[Row], settings: Settings, names: tuple[str, str]
) -> dict[str, Any]:
    """For every figure that both have: the two values, their difference (second less first) and its 95 % interval.

    Only pictures that both judged count. `p` is the bootstrap's two-sided share of differences on the other side of 0.
    """
    judged = [{row["index"]: row for row in rows if not row.get("error")} for rows in (first, second)]
    common = sorted(judged[0].keys() & judged[1].keys())
    a, b = (Frame([rows[index] for index in common]) for rows in judged)
    result: dict[str, Any] = {"first": names[0], "second": names[1], "pictures": len(common), "figures": {}}
    if not common:
        return result
    ours, theirs = statistics(a, settings.protocol), statistics(b, settings.protocol)
    shared = [name for name in ours if name in theirs]
    draws = Bootstrap(a.groups, resamples=settings.resamples, seed=settings.seed)
    first_draws = draws.table({name: ours[name] for name in shared})
    second_draws = draws.table({name: theirs[name] for name in shared})
    ones = np.ones(len(common))
    for name in shared:
        difference = second_draws[name] - first_draws[name]
        low, high = interval_of(difference)
        values = float(ours[name](ones)), float(theirs[name](ones))
        figure = {"first": values[0], "second": values[1], "difference": values[1] - values[0]}
        result["figures"][name] = figure | {"low": low, "high": high, "p": _p(difference)}
    return result


def compare_runs(
    first: Path, second: Path, *, condition: str = CLEAN, resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Paired differences of every model in folder `second` against every one in `first`, less pairs of the same.

    Raises UsageError where the two runs did not see the same pictures in the same way.
    """
    heads = [read_head(folder / LOG) for folder in (first, second)]
    differing = [
        key for key in ("pictures", "equalise", "protocol") if heads[0].get(key) != heads[1].get(key)
    ]
    if differing:
        raise UsageError(
            f"{first} and {second} cannot be compared picture by picture: they differ in {', '.join(differing)}."
        )
    settings = Settings(get_protocol(str(heads[0]["protocol"])), resamples, seed)
    differences = []
    ours, theirs = (_by_model(folder, condition) for folder in (first, second))
    for a, rows in ours.items():
        for b, others in theirs.items():
            if a != b or first.resolve() != second.resolve():
                differences.append(paired_differences(rows, others, settings, (a, b)))
    if not differences:
        raise UsageError(f"{first} and {second} hold nothing to compare under the condition {condition!r}.")
    return differences


def _by_model(folder: Path, condition: str) -> dict[str, list[Row]]:
    models: dict[str, list[Row]] = {}
    for row in read_rows(folder / LOG):
        if row["condition"] == condition:
            models.setdefault(f"{row['model']} {row['version']}", []).append(row)
    return models


def _p(differences: Any) -> float:
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return float("nan")
    return float(min(1.0, 2 * min((defined <= 0).mean(), (defined >= 0).mean())))
