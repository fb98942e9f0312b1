"""A forgery's mask covers what changed, and nothing that did not (but for the feathered border)."""

import cv2
import numpy as np
import pytest

from pixelsleuth.data.equalise import Draw, draw, equalise
from pixelsleuth.forge import edits
from pixelsleuth.forge.edits import bounding_box, free_shape, outline_shape


def photograph(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 60, (12, 12, 3)).astype(np.float32)
    large = cv2.resize(noise, (160, 144), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(seed + 1).normal(0, 4, large.shape)
    return (large + grain).clip(0, 255).astype(np.uint8)


def forge(name: str, seed: int) -> tuple[np.ndarray, edits.Forgery]:
    random = np.random.default_rng(seed)
    base, donor = photograph(2 * seed), photograph(2 * seed + 1)
    mask = free_shape(*base.shape[:2], random)
    made = {
        "splice": lambda: edits.splice(base, donor, free_shape(*donor.shape[:2], random), random),
        "copy-move": lambda: edits.copy_move(base, mask, random),
        "removal": lambda: edits.removal(base, mask, random),
        "local edit": lambda: edits.local_edit(base, mask, random),
        "generative edit": lambda: edits.generative_edit(base, cv2.blur(base, (3, 3)), mask, random),
    }
    return base, made[name]()


@pytest.mark.parametrize("name", ["splice", "copy-move", "removal", "local edit", "generative edit"])
def test_the_mask_covers_what_changed(name: str) -> None:
    for seed in range(12):
        base, forgery = forge(name, seed)
        assert forgery.operation == name
        assert forgery.traces
        assert forgery.pixels.shape == base.shape
        assert forgery.pixels.dtype == np.uint8
        assert set(np.unique(forgery.mask)) <= {0, 255}
        margin = cv2.dilate(forgery.mask, np.ones((33, 33), np.uint8))
        changed = (forgery.pixels != base).any(axis=2)
        assert not (changed & (margin == 0)).any()


def test_a_draw_is_reproducible() -> None:
    assert np.array_equal(forge("splice", 3)[1].pixels, forge("splice", 3)[1].pixels)


def test_shapes() -> None:
    random = np.random.default_rng(0)
    shares = [(free_shape(100, 120, random) > 0).mean() for _ in range(100)]
    assert min(shares) > 0.005
    assert max(shares) < 0.6
    square = outline_shape(np.array([[10, 20], [30, 20], [30, 40], [10, 40]], np.float32), 100, 100)
    assert bounding_box(square) == (10, 20, 31, 41)
    assert bounding_box(np.zeros((4, 4))) is None


def test_equalise_treats_every_picture_alike() -> None:
    pixels = photograph(5)
    assert np.array_equal(equalise(pixels), equalise(pixels))
    assert equalise(pixels, Draw(scale=0.5)).shape == (72, 80, 3)
    assert np.array_equal(equalise(pixels, Draw(quality=None)), pixels)
    random = np.random.default_rng(0)
    draws = [draw(random) for _ in range(300)]
    assert {d.quality is None for d in draws} == {True, False}
    assert all(d.quality is None or 65 <= d.quality < 100 for d in draws)
