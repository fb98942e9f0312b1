"""A listing can be gone through many times and never holds the pictures of shards."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.data.listing import list_data


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A Parquet shard with pictures inside, in the hub form of SID-Set."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = []
    for index, label in enumerate((0, 1, 2, 0, 1, 2)):
        data = io.BytesIO()
        Image.fromarray(np.full((20, 24, 3), 40 * index, np.uint8)).save(data, "PNG")
        mask = io.BytesIO()
        Image.fromarray(np.full((20, 24), 255, np.uint8)).save(mask, "PNG")
        name = ("real", "full_synthetic", "tampered")[label]
        rows.append(
            {
                "img_id": f"{name}_{index}", "image": {"bytes": data.getvalue(), "path": None},
                "mask": {"bytes": mask.getvalue(), "path": None} if label == 2 else None,
                "width": 24, "height": 20, "label": label,
            }
        )  # fmt: skip
    folder = tmp_path / "set"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    return folder


def test_shards_are_streamed_again_and_never_held(shard: Path) -> None:
    listing = list_data(shard)
    assert listing.sharded
    assert len(listing) == 6
    assert all(sample.data is None and sample.mask is None for _, sample in listing.light)
    for _ in range(2):
        whole = list(listing)
        assert [index for index, _ in whole] == list(range(6))
        assert all(sample.data for _, sample in whole)
        picture, mask = whole[2][1].load()
        assert mask is not None
        assert mask.pixels.all()
        assert picture.pixels[0, 0, 0] == 80


def test_some_of_a_listing_keep_their_indexes_and_order(shard: Path) -> None:
    some = list_data(shard).only([4, 1])
    assert [index for index, _ in some] == [1, 4]
    assert all(str(sample.label) == "full_synthetic" for _, sample in some)


def test_files_are_listed_once(tmp_path: Path) -> None:
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / name / "a.png")
    listing = list_data(tmp_path)
    assert not listing.sharded
    assert [sample.path.parent.name for _, sample in listing] == ["real", "fake"]
