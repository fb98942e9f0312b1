"""Of a large picture a part is examined; what is found there is stated in places of the whole, on the same grid."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.evidence import inspection
from pixelsleuth.evidence.extent import examined_part


@pytest.mark.parametrize("shape", [(333, 517), (1001, 64), (48, 2003), (8, 9000)])
def test_the_part_keeps_the_grid_and_its_bound(shape):
    pixels = np.arange(shape[0] * shape[1] * 3).reshape(*shape, 3).astype(np.uint8)
    part, (x, y) = examined_part(pixels, 20_000)
    height, width = part.shape[:2]
    assert height * width <= 20_000
    assert x % 8 == y % 8 == 0
    assert (shape[0] - height) % 8 == (shape[1] - width) % 8 == 0
    assert np.array_equal(part, pixels[y : y + height, x : x + width])


def test_a_region_in_the_middle_of_a_large_picture_is_stated_where_it_lies(monkeypatch):
    rng = np.random.default_rng(3)

    def jpeg(side: int) -> np.ndarray:
        noise = Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)).resize((2 * side,) * 2)
        encoded = io.BytesIO()
        noise.save(encoded, "JPEG", quality=70)
        return np.asarray(Image.open(encoded))

    pixels = jpeg(300).copy()
    pixels[243:371, 221:349] = jpeg(64)
    whole = inspection.pixel_findings(pixels)
    monkeypatch.setattr(inspection, "examined_part", lambda pixels: examined_part(pixels, 200_000))
    part = inspection.pixel_findings(pixels)
    (first,), (second,) = ([f for f in found if f.kind == "grid"] for found in (whole, part))
    assert first.detail["grid"] == second.detail["grid"]
    assert np.abs(np.subtract(first.region, second.region)).max() <= 8
