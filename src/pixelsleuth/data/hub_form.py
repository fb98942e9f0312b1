"""The form in which `datasets` reads labelled pictures without code: Parquet whose schema names its features; a card.

from datasets import load_dataset
load_dataset("FOLDER")   # image and mask as pictures, label as ClassLabel(real, full_synthetic, tampered)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

TEXTS = ("source", "generator", "tamper", "group", "description", "licence", "path")
"""Columns of text in every set of this form, beside the pictures and the label."""
ROW_GROUP = 100
"""Rows: a viewer reads one group without the shard."""
GROUP_BYTES = 200_000_000
"""Bytes of pictures in a row group at most, so that large pictures do not fill the memory."""
SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The hub's size categories."""


def arrow(extra: str = "data") -> Any:
    """The module pyarrow. Raises MissingExtra where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", extra) from None
    import pyarrow

    return pyarrow


def schema(columns: Mapping[str, str], *, extra: str = "data") -> pa.Schema:
    """The schema of these columns, with the features for `datasets` in its metadata.

    A kind is "image" ({"bytes", "path"}), "label" (index of LABELS), or the name of an Arrow type, such as "string".
    """
    pa = arrow(extra)
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"image": picture, "label": pa.int64()}
    features: dict[str, dict[str, Any]] = {}
    for name, kind in columns.items():
        if kind == "image":
            features[name] = {"_type": "Image"}
        elif kind == "label":
            features[name] = {"names": [str(label) for label in LABELS], "_type": "ClassLabel"}
        else:
            features[name] = {"dtype": kind, "_type": "Value"}
    fields = [(name, types.get(kind) or getattr(pa, kind)()) for name, kind in columns.items()]
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(fields).with_metadata(metadata)


def write_shard(target: Path | BinaryIO, rows: Iterable[Mapping[str, Any]], form: pa.Schema) -> int:
    """Write rows as one Parquet file of small row groups; return their number. Pictures are not compressed again."""
    pa = arrow()
    count = 0
    stream = iter(rows)
    with pa.parquet.ParquetWriter(target, form, compression="none", write_page_index=True) as writer:
        while group := list(_group(stream)):
            writer.write_table(pa.Table.from_pylist(group, schema=form))
            count += len(group)
    return count


def _group(stream: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    size = 0
    for row in islice(stream, ROW_GROUP):
        yield row
        size += sum(len(cell["bytes"]) for cell in row.values() if isinstance(cell, dict))
        if size > GROUP_BYTES:
            return


def shard_name(split: str, number: int, shards: int) -> str:
    """The name of a shard below the folder of the set, as the hub's viewer expects it.

    >>> shard_name("train", 0, 2)
    'data/train-00000-of-00002.parquet'
    """
    return f"data/{split}-{number:05d}-of-{shards:05d}.parquet"


def card_head(
    files: Mapping[str, str], total: int, licence: str | Sequence[str] = (), *, fingerprint: str
) -> str:
    """The YAML head of a data card: which files (a pattern) make each split; `datasets` reads the folder by it.

    `licence` is the hub's name of one, or several; without one nothing is stated. `fingerprint` is a digest of the
    content: `datasets` looks a local folder up in its cache by the folder's name and this head, not by the files, and
    would give an older set of the same name.
    """
    size = next((name for most, name in SIZES if total < most), "1M<n<10M")
    lines = [
        "---",
        "task_categories:",
        "- image-classification",
        "- image-segmentation",
        "tags:",
        "- image-forensics",
    ]
    names = [licence] if isinstance(licence, str) else list(licence)
    lines += ["license:", *(f"- {name}" for name in names)] if names else []
    lines += ["size_categories:", f"- {size}", "configs:", "- config_name: default"]
    lines += [f"  description: content {fingerprint}", "  data_files:"]
    for split in sorted(files):
        lines += [f"  - split: {split}", f"    path: {files[split]}"]
    return "\n".join([*lines, "---", ""])
