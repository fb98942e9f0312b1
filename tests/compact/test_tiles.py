"""Large pictures are worked through in tiles without seams, and their maps stay bounded."""

import numpy as np
import pytest

from pixelsleuth.compact import tiles


def local_means(tile: np.ndarray) -> np.ndarray:
    """A map at stride 4 whose values depend on 40 px around each place."""
    grey = tile[0].astype(np.float64).mean(axis=2)
    padded = np.pad(grey, 40, mode="edge")
    summed = np.pad(padded, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    box = summed[81:, 81:] - summed[:-81, 81:] - summed[81:, :-81] + summed[:-81, :-81]
    return box[None, None, ::4, ::4].astype(np.float32)


@pytest.mark.parametrize("shape", [(808, 1096), (1500, 300), (1025, 1030)])
def test_tiles_give_what_one_pass_gives(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    tiled = tiles.traced(pixels, local_means, 64)
    monkeypatch.setattr(tiles, "WHOLE", 10_000)
    whole = tiles.traced(pixels, local_means, 64)
    assert tiled.shape == whole.shape
    np.testing.assert_allclose(tiled, whole, rtol=1e-5)


@pytest.mark.parametrize("shape", [(768, 1024), (240, 320), (17, 500), (300, 200), (3000, 4000)])
def test_windows_lie_inside_the_picture_and_are_few(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    windows = tiles.windows(pixels)
    assert 1 <= len(windows) <= tiles.MOST**2
    assert windows.shape[1] % tiles.GRID == 0 == windows.shape[2] % tiles.GRID
    assert max(windows.shape[1:3]) <= tiles.WINDOW
    assert len(windows) > 1 or max(shape) < 1.5 * tiles.WINDOW


@pytest.mark.parametrize("shape", [(3000, 4000), (16, 100_000), (4000, 4000), (8000, 2000)])
def test_the_map_of_a_large_picture_is_bounded(shape: tuple[int, int]) -> None:
    k = tiles.pooling(*shape)
    assert (shape[0] / 4 / k) * (shape[1] / 4 / k) <= tiles.PLACES * 1.02


def test_blocks_are_averaged() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert tiles.block_mean(x, 2).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
