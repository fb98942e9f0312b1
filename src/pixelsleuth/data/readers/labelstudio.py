"""Verdicts that people corrected in Label Studio: the JSON export of a project made by `summarise --export`.

A task's class is that of its last annotation that was not cancelled, its mask the union of what was painted. Pictures
are found by the address that Label Studio served them under, below the setting `root`, its LOCAL_FILES_DOCUMENT_ROOT.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core import brush
from pixelsleuth.core.verdict import Label
from pixelsleuth.data.reader import ReaderSpec, Setting
from pixelsleuth.data.sample import Sample, label_named
from pixelsleuth.data.source import Source, extras

LOCAL = "/data/local-files/"
NOT_REVIEWED = "task without an annotation"
NO_CLASS = "task without a class"
NOT_LOCAL = "picture that Label Studio does not serve from a folder"
DAMAGED = "task with a damaged mask"


def read(source: Source) -> Iterator[Sample]:
    assert source.table is not None, "a reader of rows is chosen for tables alone"
    if root := source.settings.get("root"):
        source.root = Path(root)
    for row in source.table.rows():
        sample = _sample(source, row)
        if isinstance(sample, Sample):
            yield sample
        elif sample:
            source.leave_out(sample, row["_where"])


def _sample(source: Source, row: Mapping[str, Any]) -> Sample | str:
    """The sample of a task, else why it has none; empty where that was counted already."""
    data = row.get("data")
    annotations = [entry for entry in _dicts(row.get("annotations")) if not entry.get("was_cancelled")]
    if not annotations or not isinstance(data, Mapping):
        return NOT_REVIEWED
    regions = _dicts(annotations[-1].get("result"))
    choices = [region for region in regions if region.get("type") == "choices"]
    names = [str(name) for region in choices for name in _values(region, "choices")]
    label = label_named(names[-1]) if names else None
    if label is None:
        return NO_CLASS
    address = urlsplit(str(data.get("image") or ""))
    named = parse_qs(address.query).get("d", [""])[0] if address.path == LOCAL else ""
    if not named:
        return NOT_LOCAL
    path = source.existing(named)
    if path is None:
        return ""
    try:
        mask = _mask(regions) if label is Label.TAMPERED else None
    except (ValueError, TypeError, KeyError):
        return DAMAGED
    extra = extras(id=row.get("id"), verdict=data.get("verdict"))
    return Sample(path, label, mask, "Label Studio", extra=extra)


def _mask(regions: list[Mapping[str, Any]]) -> bytes | None:
    """The painted regions together as PNG; None without one. Raises ValueError for a damaged one."""
    from PIL import Image

    whole: NDArray[np.bool_] | None = None
    for region in regions:
        if region.get("type") != "brushlabels":
            continue
        size = int(region["original_width"]), int(region["original_height"])
        painted = brush.decode(region["value"]["rle"], *size)
        if whole is not None and whole.shape != painted.shape:
            raise ValueError("two masks of different sizes")
        whole = painted if whole is None else whole | painted
    if whole is None:
        return None
    stream = io.BytesIO()
    Image.fromarray(whole.astype("uint8") * 255).save(stream, format="PNG")
    return stream.getvalue()


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _values(region: Mapping[str, Any], key: str) -> list[Any]:
    value = region.get("value")
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


SPECS = (
    ReaderSpec(
        name="labelstudio",
        title="Label Studio: corrected verdicts",
        read=read,
        licence="yours",
        size="any",
        classes="real, full_synthetic, tampered",
        get="export the project as JSON",
        columns=frozenset({"data", "annotations"}),
        settings={
            "root": Setting(
                "", "the folder that Label Studio serves (LOCAL_FILES_DOCUMENT_ROOT); the file's own"
            )
        },
    ),
)
