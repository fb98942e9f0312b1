"""One row an input: the fields of the verdict's record, typed, and what the plan says of the input.

A field keeps the name and the meaning that it has in `docs/reference/verdict.schema.json`. `evidence`, `panel` and
`decision`, whose shape depends on the detector, are JSON texts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.verdict import SCHEMA, valid_unicode
from pixelsleuth.scale import heatmaps
from pixelsleuth.scale.listing import Entry, arrow, path_of

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from pixelsleuth.core.verdict import Verdict

META_SCHEMA, META_MODEL = b"pixelsleuth.schema", b"pixelsleuth.model"
"""Keys of a part's metadata: the schema of its records; the model as JSON, `{"name", "version"}`."""
JUDGED, FAILED, DUPLICATE = "judged", "error", "duplicate"
"""Values of the column `state`."""
HEATMAP = "heatmap"
"""The column of heat maps (`heatmaps.encode`); null throughout where the scan was not told to keep them."""
TEXTS = ("evidence", "panel", "decision")
"""Fields of the record that are JSON texts in a row."""


def schema(model: dict[str, str] | None = None) -> pa.Schema:
    """The columns of a part; with `model` also its metadata."""
    pa = arrow()
    text, number, real = pa.string(), pa.int64(), pa.float64()
    columns: dict[str, Any] = {
        "id": number, "state": text, "duplicate_of": number, "origin": text, "judged_at": pa.timestamp("ms", "UTC"),
        "source": text, "sha256": text, "width": pa.int32(), "height": pa.int32(), "label": text,
        "confidence": real,
        "probabilities": pa.struct([(name, real) for name in ("real", "full_synthetic", "tampered")]),
        "inconclusive": pa.bool_(),
        "mask": pa.struct([("rle", pa.struct([("size", pa.list_(pa.int32())), ("counts", text)])), ("area", number)]),
        "regions": pa.list_(pa.struct([("box", pa.list_(pa.int32())), ("area", number), ("score", real)])),
        "explanation": text, "evidence": text,
        "model": pa.struct([("name", text), ("version", text)]),
        "elapsed_ms": real, "warnings": pa.list_(text),
        "error": pa.struct([("code", text), ("message", text)]),
        "metadata": pa.map_(text, text), "decision": text, "examined": pa.bool_(), "panel": text,
        HEATMAP: pa.binary(),
    }  # fmt: skip
    meta = None
    if model is not None:
        meta = {META_SCHEMA: SCHEMA.encode(), META_MODEL: json.dumps(model, sort_keys=True).encode()}
    return pa.schema(list(columns.items()), meta)


def row_of(entry: Entry, verdict: Verdict, judged_at: datetime) -> dict[str, Any]:
    """The row of an input that was judged, or could not be; with the heat map that the verdict still has."""
    record = verdict.to_dict()
    del record["schema"]
    for name in TEXTS:
        value = record.get(name)
        record[name] = None if value is None else json.dumps(value, allow_nan=False)
    return {
        **_whole(record),
        "id": entry.id,
        "state": JUDGED if verdict.ok else FAILED,
        "origin": entry.origin,
        "judged_at": judged_at,
        HEATMAP: None if verdict.heatmap is None else heatmaps.encode(verdict.heatmap),
    }


def duplicate_row(entry: Entry, judged_at: datetime) -> dict[str, Any]:
    """The row of an input that was not judged, since the input `duplicate_of` stands for it."""
    return {
        "id": entry.id,
        "state": DUPLICATE,
        "duplicate_of": entry.duplicate_of,
        "origin": entry.origin,
        "judged_at": judged_at,
        "source": valid_unicode(path_of(entry.location)),
    }


def record_of(row: dict[str, Any]) -> dict[str, Any] | None:
    """The verdict's record of a row (`Verdict.from_dict` reads it), as `check` writes it; None for a duplicate."""
    if row["state"] == DUPLICATE:
        return None
    record = {"schema": SCHEMA} | {name: value for name, value in row.items() if name not in _OWN}
    for name in TEXTS:
        record[name] = None if record[name] is None else json.loads(record[name])
    record["metadata"] = dict(record["metadata"] or ())
    if record["panel"] is None:
        del record["panel"]
    return record


_OWN = ("id", "state", "duplicate_of", "origin", "judged_at", HEATMAP)


def _whole(value: Any) -> Any:
    """The value with every text as valid Unicode: Arrow takes no lone surrogates, which file names may hold."""
    if isinstance(value, str):
        return value if value.isascii() else valid_unicode(value)
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value
