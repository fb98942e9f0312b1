"""The model card of a checkpoint: what the model says of itself, what its maker says, and what was measured.

A field that nobody states reads "not stated"; a card without figures says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.names import suggestion
from pixelsleuth.errors import UsageError

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

CARD = "README.md"
LARGEST_FIGURES = 64_000_000
"""Bytes of a metrics.json; that of a large table has a few megabytes."""
NOT_STATED = "not stated"
CLEAN = "clean"
"""The condition without a perturbation, see `evaluation.perturbations`."""
SHOWN = (
    ("balanced_accuracy", "balanced accuracy, three classes"),
    ("auroc", "AUROC, fake against real"),
    ("authentic_accused", "authentic pictures accused"),
    ("coverage", "share of conclusive verdicts"),
    ("conclusive_accuracy", "accuracy of conclusive verdicts"),
    ("pixel_f1", "pixel F1 of tampered pictures"),
    ("pixel_iou", "pixel IoU of tampered pictures"),
)
"""Figures of `evaluate` that a card shows, in this order, where they were measured."""
LIMITS = """\
* Pictures of generators, editing tools and cameras that were not in the training data are judged less well; by how much
  is not known before it was measured on such pictures.
* Resizing, recompression and screenshots remove traces: a verdict on such a copy is weaker.
* A verdict is no proof. Look at where a file comes from, and at what it says by itself (`pixelsleuth inspect`).
"""
SUBJECT = """\
A SIDA checkpoint: it judges whether a picture is real, wholly generated or tampered with, and marks what was
tampered with. Architecture: [SIDA](https://arxiv.org/abs/2412.04292). Read and written by PixelSleuth.
"""
UNMEASURED = """No figures were given. Measure this checkpoint on pictures like yours before you rely on it
(`pixelsleuth evaluate`).
"""
USE = """```python
from transformers import pipeline

import pixelsleuth.models.forensics  # registers the task

judge = pipeline("image-forensics", model="{repository}")
print(judge("photo.jpg"))
```

```console
$ pixelsleuth check photo.jpg --model {repository}
```
"""


@dataclass(frozen=True)
class Told:
    """What a checkpoint's maker says of it. `data` and `base` are hub ids or names; `licence` is the hub's name of one.

    `made`: how it was trained. `limits`: sentences that are added to the general ones.
    """

    name: str = "sida"
    licence: str = ""
    data: Sequence[str] = ()
    base: str = ""
    made: str = ""
    limits: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Told:
        """The same out of keyword arguments. Raises UsageError for a name that is no field."""
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise UsageError(f"A model card has no {name!r}{suggestion(name, names)}")
        data = values.get("data", ())
        return cls(**{**values, "data": (data,) if isinstance(data, str) else tuple(data)})


def as_path(name: str) -> str:
    """A checkpoint's name for others to read: a hub id as it is, of a folder its last part."""
    return name if name.count("/") == 1 and not Path(name).exists() else Path(name).name


def model_card(
    told: Told,
    facts: Mapping[str, str],
    metrics: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    place: str,
) -> ModelCard:
    """The card, with the hub's YAML head.

    Args:
        told: what the maker says.
        facts: what the model says of itself, a row a fact.
        metrics: `metrics.json` of `evaluate`, or its content.
        place: the hub id or the folder by which others load it.

    Raises:
        UsageError: the file of figures is missing or is none of `evaluate`.
    """
    from huggingface_hub import ModelCard, ModelCardData

    figures = _figures(metrics)
    on_hub = [name for name in told.data if name.count("/") == 1]
    head = ModelCardData(
        license=told.licence.lower() or None,
        library_name="pixelsleuth",
        pipeline_tag="image-segmentation",
        tags=["image-forensics", "forgery-localization", "synthetic-image-detection", "sida"],
        base_model=told.base if told.base.count("/") == 1 else None,
        datasets=on_hub or None,
        model_name=told.name if figures else None,
        eval_results=_results(figures) if figures else None,
    )
    rows = {
        **facts,
        "Made from": told.base or NOT_STATED,
        "Trained on": ", ".join(told.data) or NOT_STATED,
        "How": told.made or NOT_STATED,
        "Licence": told.licence or NOT_STATED,
    }
    parts = [
        f"---\n{head.to_yaml()}\n---\n",
        f"# {told.name}\n",
        SUBJECT,
        "## What it is\n",
        _table(("", ""), [(name, " ".join(value.split())) for name, value in rows.items()]),
        "## Use\n",
        USE.format(repository=place),
        "## What was measured\n",
        _measured(figures),
        "## Limits\n",
        LIMITS + "".join(f"* {line}\n" for line in told.limits.splitlines() if line.strip()),
    ]
    return ModelCard("\n".join(parts))


def _figures(metrics: Mapping[str, Any] | str | os.PathLike[str] | None) -> Mapping[str, Any] | None:
    """The content of a metrics.json, checked as far as a card reads it."""
    if metrics is None:
        return None
    content: Any = metrics
    if isinstance(metrics, str | os.PathLike):
        path = Path(metrics)
        try:
            if path.stat().st_size > LARGEST_FIGURES:
                raise UsageError(
                    f"{path} is too large for a metrics.json; name that of `pixelsleuth evaluate`."
                )
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise UsageError(
                f"{path} cannot be read; name a metrics.json of `pixelsleuth evaluate`."
            ) from None
    try:
        if not str(content["schema"]).startswith("pixelsleuth.") or not content["models"]:
            raise KeyError("schema")
        for model in content["models"]:
            _rows(model)
        str(content["data"]["name"]), int(content["data"]["pictures"]), content["protocol"]["name"]
    except (KeyError, TypeError, ValueError):
        raise UsageError("These figures are not those of a metrics.json of `pixelsleuth evaluate`.") from None
    return dict(content)


def _rows(model: Mapping[str, Any]) -> list[tuple[str, str, float, float, float]]:
    """(figure, its title, value, low, high) of the pictures as they are."""
    figures = model["conditions"].get(CLEAN, {}).get("figures", {})
    return [
        (name, title, *(float(figures[name][part]) for part in ("value", "low", "high")))  # type: ignore[misc]
        for name, title in SHOWN
        if figures.get(name) is not None and figures[name]["value"] is not None
    ]


def _results(figures: Mapping[str, Any]) -> list[EvalResult]:
    """The figures of the first detector as the hub's model index."""
    from huggingface_hub import EvalResult

    data, split = str(figures["data"]["name"]), figures["data"].get("split")
    return [
        EvalResult(
            task_type="image-classification", task_name="Image forensics", dataset_type=data, dataset_name=data,
            dataset_split=split, metric_type=name, metric_name=title, metric_value=round(value, 6),
        )
        for name, title, value, _, _ in _rows(figures["models"][0])
    ]  # fmt: skip


def _measured(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return UNMEASURED
    data, protocol = figures["data"], figures["protocol"]
    equalised = (
        "equalised in container, size and compression" if protocol.get("equalised") else "as the files are"
    )
    lead = (
        f"{data['pictures']:,} pictures of {data['name']}"
        + (f", split {data['split']}" if data.get("split") else "")
        + (f", {data['groups']:,} groups" if data.get("groups") else "")
        + f"; protocol {protocol['name']}, {equalised}. Intervals: 95 %, by bootstrap over groups. "
        f"Measured with PixelSleuth {figures.get('environment', {}).get('pixelsleuth', NOT_STATED)}.\n"
    )
    model = figures["models"][0]
    rows = [
        (title, f"{value:.3f}", f"{low:.3f} to {high:.3f}") for _, title, value, low, high in _rows(model)
    ]
    return f"{lead}\n{_table(('figure', 'value', 'interval'), rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |\n" for row in (head, *rows)]
    cells.insert(1, "|---" * len(head) + "|\n")
    return "".join(cells)
