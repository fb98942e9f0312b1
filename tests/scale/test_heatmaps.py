"""Heat maps that a scan keeps are those of the detector, stand in the page, and are not trusted when read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scale_tools import rows_of, write_pictures

from pixelsleuth.errors import PlanMismatch, UsageError
from pixelsleuth.pictures.images import open_picture
from pixelsleuth.scale import heatmaps
from pixelsleuth.scale.summarising import SummaryOptions, run_summarise

Scan = Callable[..., int]
WARM = "scale_stub:warm"


def as_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_a_row_holds_the_detectors_heat_map_where_it_is_asked_for(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 6)
    (tmp_path / "pictures" / "broken.jpg").write_text("no picture")
    scan(tmp_path / "pictures", tmp_path / "with", model=WARM, heat_maps=True)
    scan(tmp_path / "pictures", tmp_path / "without", model=WARM)
    rows = rows_of(tmp_path / "with")
    assert [row["heatmap"] is None for row in rows] == [row["state"] == "error" for row in rows]
    for row in rows:
        if row["heatmap"] is not None:
            expected = open_picture(row["source"]).pixels[::2, ::2, 0] / 255
            assert np.allclose(heatmaps.decode(row["heatmap"]), expected, atol=1 / 500)
    assert rows_of(tmp_path / "without") == [row | {"heatmap": None} for row in rows]
    with pytest.raises(PlanMismatch, match="heat_maps"):
        scan(tmp_path / "pictures", tmp_path / "with", model=WARM, resume=True)


def test_the_page_shows_the_heat_map_of_an_inconclusive_picture(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 3)
    for name, kept in (("with", True), ("without", False)):
        scan(tmp_path / "pictures", tmp_path / name, model=WARM, heat_maps=kept)
        page = tmp_path / f"{name}.html"
        assert run_summarise(str(tmp_path / name), SummaryOptions(report=str(page))) == 0
        assert page.read_text(encoding="utf-8").count('class="heat"') == 3 * kept


def test_a_scan_of_before_there_were_heat_maps_is_still_summarised(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 3)
    scan(tmp_path / "pictures", tmp_path / "out", model=WARM)
    (part,) = (tmp_path / "out").rglob("part-*.parquet")
    pq.write_table(pq.read_table(part).drop_columns(["heatmap"]), part)
    outputs = SummaryOptions(report=str(tmp_path / "page.html"), export=(str(tmp_path / "rows.jsonl"),))
    assert run_summarise(str(tmp_path / "out"), outputs) == 0
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 3


def test_exports_hold_no_heat_map_and_are_those_of_a_scan_without(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 5)
    records = []
    for name, kept in (("with", True), ("without", False)):
        scan(tmp_path / "pictures", tmp_path / name, model=WARM, heat_maps=kept)
        file = tmp_path / f"{name}.jsonl"
        run_summarise(str(tmp_path / name), SummaryOptions(export=(str(file),)))
        records.append([json.loads(line) | {"elapsed_ms": 0} for line in file.read_text().splitlines()])
    assert records[0] == records[1]
    assert len(records[0]) == 5


def test_a_large_map_is_stored_small() -> None:
    gradient = np.linspace(0, 1, 1024, dtype=np.float32)[None].repeat(512, axis=0)
    small = heatmaps.decode(heatmaps.encode(gradient))
    assert small.shape == (128, 256)
    assert np.allclose(small, gradient.reshape(128, 4, 256, 4).mean(axis=(1, 3)), atol=1 / 200)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        as_png(Image.new("RGB", (8, 8))),
        as_png(Image.new("L", (4000, 1))),
        as_png(Image.new("L", (8, 8)))[:45],
        b"\x00" * (heatmaps.MOST_BYTES + 1),
    ],
    ids=["empty", "header", "colours", "large", "cut", "bytes"],
)
def test_a_map_that_no_scan_writes_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="heat map"):
        heatmaps.decode(data)


def test_a_shard_with_heat_maps_is_bounded(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(UsageError, match="shard-size"):
        scan(tmp_path / "pictures", tmp_path / "out", heat_maps=True, shard_size=20_000)
