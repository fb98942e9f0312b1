"""Hidden text is read from every PNG and lossless WebP, and files without its signature are not decoded for it."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.evidence.stealth import hidden_in
from pixelsleuth.pictures.formats import read_header

PROMPT = "a red fox\nSteps: 20, Sampler: Euler a, Seed: 1"


def file_of(pixels: np.ndarray, kind: str, **options: object) -> memoryview:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return memoryview(stream.getvalue())


def signed(pixels: np.ndarray, *, alpha: bool) -> np.ndarray:
    """The pixels (H, W, C) with PROMPT, gzipped, in the lowest bits of alpha or of the colours."""
    packed = gzip.compress(PROMPT.encode())
    text = (
        (b"stealth_pngcomp" if alpha else b"stealth_rgbcomp") + (8 * len(packed)).to_bytes(4, "big") + packed
    )
    planes = pixels[..., 3:] if alpha else pixels[..., :3]
    columns = planes.transpose(1, 0, 2).copy()
    bits = np.unpackbits(np.frombuffer(text, np.uint8))
    columns.reshape(-1)[: len(bits)] = (columns.reshape(-1)[: len(bits)] & 254) | bits
    planes[:] = columns.transpose(1, 0, 2)
    return pixels


def picture(channels: int, height: int) -> np.ndarray:
    """Half noise, half gradient, so that a PNG's rows use several filters."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 256, (height, 90, channels), dtype=np.uint8)
    pixels[height // 3 :] = np.linspace(0, 255, 90, dtype=np.uint8)[None, :, None]
    return pixels


@pytest.mark.parametrize("channels, alpha", [(3, False), (4, False), (4, True)])
@pytest.mark.parametrize("height", [30, 119, 120, 300])
@pytest.mark.parametrize(
    "kind, options",
    [("PNG", {}), ("PNG", {"compress_level": 0}), ("WEBP", {"lossless": True, "exact": True})],
)
def test_hidden_text_is_read_at_every_height(channels, alpha, height, kind, options):
    data = file_of(signed(picture(channels, height), alpha=alpha), kind, **options)
    text = hidden_in(data, read_header(data, "x"))
    assert text is not None
    assert text.value == PROMPT


def refuse(stream: object) -> None:
    raise AssertionError("decoded")


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_without_the_signature_is_not_decoded(channels):
    data = file_of(picture(channels, 200), "PNG")
    assert hidden_in(data, replace(read_header(data, "x"), opener=refuse)) is None


def test_a_lossy_webp_is_not_decoded():
    data = file_of(picture(3, 200), "WEBP", quality=80)
    assert hidden_in(data, replace(read_header(data, "x"), opener=refuse)) is None


def test_a_png_that_is_cut_off_or_broken_says_nothing():
    data = bytes(file_of(signed(picture(3, 200), alpha=False), "PNG"))
    header = read_header(memoryview(data), "x")
    broken = data[:60] + bytes(200) + data[260:]
    for damaged in (data[:200], broken):
        assert hidden_in(memoryview(damaged), header) is None
