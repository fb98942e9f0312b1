"""The rows of `cases/cases.csv` on data: masks, mask cells, shards, WebDataset, each read rightly or refused by name.

The files lie in the shared folder and are no part of the repository; `test_data_kinds.py` makes the same kinds itself.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.verdict import Label
from pixelsleuth.data.masks import Marks, Mask, read_mask
from pixelsleuth.data.readers import open_data
from pixelsleuth.errors import PictureError

REAL, TAMPERED = Label.REAL, Label.TAMPERED


@pytest.fixture(scope="session")
def cases(shared: Path) -> Path:
    if not (shared / "cases" / "cases.csv").is_file():
        pytest.skip("needs the shared cases, which are not there")
    return shared / "cases"


def mask_16bit(file: Path, tmp_path: Path) -> None:
    assert (read_mask(file, (96, 64)).pixels == (np.asarray(Image.open(file)) == 1)).all()
    assert read_mask(file, (96, 64)).pixels.any()


def mask_of_ids(file: Path, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"class ids.*marks=nonzero"):
        read_mask(file, (96, 64))
    stored = np.asarray(Image.open(file))
    assert (read_mask(Mask(file, Marks.NONZERO), (96, 64)).pixels == (stored > 0)).all()


def mask_in_alpha(file: Path, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="marks=opaque"):
        read_mask(file, (96, 64))
    opaque = np.asarray(Image.open(file))[..., 3] > 127
    assert (read_mask(Mask(file, Marks.OPAQUE), (96, 64)).pixels == opaque).all()


def cells_that_mean_none(file: Path, tmp_path: Path) -> None:
    data = open_data(file)
    assert [(sample.label, sample.mask is None) for sample in data] == [(REAL, True), (TAMPERED, False)]
    assert not data.left_out


def mixed_class_names(folder: Path, tmp_path: Path) -> None:
    assert [sample.label for sample in open_data(folder)] == [REAL, TAMPERED, TAMPERED, REAL]


def webdataset(file: Path, tmp_path: Path) -> None:
    samples = list(open_data(file))
    assert [sample.label for sample in samples] == [REAL, TAMPERED, REAL, TAMPERED]
    assert [sample.mask is None for sample in samples] == [True, False, True, False]
    assert all(sample.load()[0].format == "JPEG" for sample in samples)


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "mask_16bit_0_1.png": mask_16bit,
    "mask_0_1_2.png": mask_of_ids,
    "mask_in_alpha_rgba.png": mask_in_alpha,
    "manifest_mask_Negative.csv": cells_that_mean_none,
    "parquet_mixed_classlabels": mixed_class_names,
    "webdataset_optional_mask.tar": webdataset,
}


@pytest.mark.parametrize("name", KINDS)
def test_a_case_is_read_rightly_or_refused_by_name(cases: Path, tmp_path: Path, name: str) -> None:
    if name.startswith("parquet"):
        pytest.importorskip("pyarrow")
    KINDS[name](cases / name, tmp_path)


def test_every_row_on_data_has_its_test(cases: Path) -> None:
    with (cases / "cases.csv").open(newline="", encoding="utf-8") as handle:
        inputs = {row["input"] for row in csv.DictReader(handle)}
    starts = ("mask_", "manifest_", "parquet_", "webdataset_")
    assert {name for name in inputs if name.startswith(starts)} == set(KINDS)
