"""Small sets in the exact published layouts: pictures of noise, masks of one rectangle, shards as `datasets` writes
them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


class Build:
    """Writes files under `root`; every picture is different, every call of a test gives the same ones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.random = np.random.default_rng(0)

    def pixels(self, width: int = 48, height: int = 32) -> np.ndarray:
        coarse = self.random.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))

    def bytes(self, size: tuple[int, int] = (48, 32), kind: str = "PNG", **options: Any) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.pixels(*size)).save(file, kind, **options)
        return file.getvalue()

    def picture(
        self, name: str, size: tuple[int, int] = (48, 32), kind: str | None = None, **options: Any
    ) -> Path:
        """A picture file; its format is `kind` whatever its name says, JPEG or PNG by its name where None."""
        kind = kind or {"png": "PNG", "tif": "TIFF"}.get(name.rpartition(".")[2].lower(), "JPEG")
        return self.file(name, self.bytes(size, kind, **options))

    def mask_bytes(
        self,
        size: tuple[int, int] = (48, 32),
        box: tuple[int, int, int, int] = (8, 4, 24, 20),
        *,
        inverted: bool = False,
        kind: str = "PNG",
        **options: Any,
    ) -> bytes:
        canvas = np.zeros(size[::-1], np.uint8)
        x0, y0, x1, y1 = box
        canvas[y0:y1, x0:x1] = 255
        file = io.BytesIO()
        Image.fromarray(255 - canvas if inverted else canvas).save(file, kind, **options)
        return file.getvalue()

    def mask(self, name: str, *arguments: Any, **options: Any) -> Path:
        return self.file(name, self.mask_bytes(*arguments, **options))

    def file(self, name: str, data: bytes | str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        return path

    def json(self, name: str, value: Any, encoding: str = "utf-8") -> Path:
        return self.file(name, json.dumps(value).encode(encoding))

    def shard(
        self,
        name: str,
        rows: Sequence[dict[str, Any]],
        labels: Sequence[str] | None = None,
        column: str = "label",
    ) -> Path:
        """A Parquet shard; `labels` names the integers in `column`, in the schema, as `datasets` puts them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        cells = [{key: _cell(value) for key, value in row.items()} for row in rows]
        table = pa.Table.from_pylist(cells)
        features: dict[str, Any] = {
            key: {"_type": "Image"} for key in rows[0] if any(isinstance(row[key], bytes) for row in rows)
        }
        for key in set(rows[0]) - set(features):
            dtype = "int64" if isinstance(rows[0][key], int) else "string"
            features[key] = {"dtype": dtype, "_type": "Value"}
        if labels is not None:
            features[column] = {"names": list(labels), "_type": "ClassLabel"}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})} if labels is not None else {}
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=4)
        return path


def _cell(value: Any) -> Any:
    return {"bytes": value, "path": None} if isinstance(value, bytes) else value


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path / "set")
