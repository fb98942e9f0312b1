"""Label Studio's run lengths."""

from __future__ import annotations

import numpy as np
import pytest

from pixelsleuth.core import brush

# label-studio-sdk 2.1.2, converter.brush.mask2rle of MASK; its last byte is padding.
MASK = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=bool)
THEIRS = [0, 0, 0, 48, 57, 27, 252, 96, 19, 255, 206, 1, 31, 254, 19, 0, 143, 252]


def test_the_bytes_are_those_of_label_studios_own_code() -> None:
    assert brush.encode(MASK)[: len(THEIRS) - 1] == THEIRS[:-1]
    assert (brush.decode(THEIRS, 4, 3) == MASK).all()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_mask_comes_back(share: float) -> None:
    mask = np.random.default_rng(7).random((150, 211)) < share
    assert (brush.decode(brush.encode(mask), 211, 150) == mask).all()


def test_what_the_editor_paints_is_read_by_its_opacity() -> None:
    # One pixel as four single values, as the editor writes a colour: red, green, blue, half opaque.
    values = "".join(f"{value:08b}" for value in (216, 27, 96, 128))
    text = f"{4:032b}00111" + "0010" + "0011" + "0111" + "1111" + "000" + "011" + values
    text += "0" * (-len(text) % 8)
    assert brush.decode(list(int(text, 2).to_bytes(len(text) // 8, "big")), 1, 1).tolist() == [[True]]


@pytest.mark.parametrize(
    "rle, size",
    [
        (THEIRS, (3, 3)),
        (THEIRS[:9], (4, 3)),
        ([], (4, 3)),
        ([255] * 40, (4, 3)),
        (THEIRS, (10**6, 10**6)),
        ([999] * 9, (1, 1)),
    ],
)
def test_damaged_bytes_are_refused(rle: list[int], size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="mask"):
        brush.decode(rle, *size)
