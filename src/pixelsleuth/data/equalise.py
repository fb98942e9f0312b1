"""Equalise: every class gets the same decoding, size, container and compression, so that no file gives its class away.

`equalised` takes a picture in any container and returns its pixels, and the bytes of the one container that all get.
What it draws depends on the picture's key and a seed, never on the label (`draw_for`). Training works on decoded arrays
and uses `draw` and `equalise`. `EVALUATION` is the fixed draw of evaluations: one JPEG pass at quality 90, 4:2:0, at
native size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pixelsleuth.core.settings import OneOf, Range
from pixelsleuth.errors import UsageError
from pixelsleuth.pictures.images import MAX_MEGAPIXELS, open_picture

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Source

MARGIN = 16
"""`crop` cuts on this grid, so that a JPEG's own 8 x 8 blocks keep their place in every picture that was a JPEG."""


@dataclass(frozen=True)
class Draw:
    """What is done to one picture: scale factor, noise sigma (of 255), JPEG quality (None: lossless), 4:4:4 or
    4:2:0."""

    scale: float = 1.0
    interpolation: int = 1
    sigma: float = 0.0
    quality: int | None = 90
    full_chroma: bool = False


EVALUATION = Draw()


@dataclass(frozen=True)
class SizePolicy:
    """One size rule for every class.

    `native` keeps the size. `crop` cuts the middle square of `side` pixels, after scaling up what is smaller. `fit`
    scales the longer side to `side`. Only `crop` makes width and height the same for all.
    """

    kind: str = "native"
    side: int = 512

    def __post_init__(self) -> None:
        OneOf(("native", "crop", "fit")).check("size", self.kind)
        Range(32, 16384).check("side", self.side)

    @classmethod
    def parse(cls, text: str) -> SizePolicy:
        """The policy that a text such as `native`, `crop:512` or `fit:1024` names. Raises UsageError.

        >>> SizePolicy.parse("crop:256")
        SizePolicy(kind='crop', side=256)
        """
        kind, _, side = text.partition(":")
        if side and not side.isdigit():
            raise UsageError(f"The size {text} cannot be read: write native, crop:512 or fit:1024.")
        return cls(kind, int(side)) if side else cls(kind)


NATIVE = SizePolicy()


@dataclass(frozen=True)
class Equalised:
    """`pixels` (H, W, 3) uint8, decoded from `data`, which is the file in the common container; `enlarged`: it was
    smaller than the policy's side."""

    pixels: np.ndarray
    data: bytes
    enlarged: bool = False


def draw(
    random: np.random.Generator, *, resize: float = 0.15, noise: float = 0.05, lossless: float = 0.15
) -> Draw:
    """One random draw; the arguments are the probabilities of a resize, of added noise and of no compression."""
    scale = float(np.exp(random.uniform(np.log(0.6), np.log(1.4)))) if random.random() < resize else 1.0
    sigma = float(random.uniform(1, 4)) if random.random() < noise else 0.0
    quality = None if random.random() < lossless else int(random.integers(65, 100))
    return Draw(scale, int(random.integers(1, 4)), sigma, quality, bool(random.random() < 0.4))


def random_for(key: str, seed: int = 0) -> np.random.Generator:
    """A generator that depends on `key` and `seed` alone: the same in every process, order and run.

    >>> random_for("a/1.png").random() == random_for("a/1.png").random()
    True
    """
    digest = hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def draw_for(key: str, seed: int = 0, *, low: int = 75, high: int = 95) -> Draw:
    """A JPEG draw for the picture called `key`: quality `low`..`high`, 4:4:4 or 4:2:0, blind to its label."""
    random = random_for(key, seed)
    return Draw(quality=int(random.integers(low, high + 1)), full_chroma=bool(random.random() < 0.4))


def equalise(
    pixels: np.ndarray, how: Draw = EVALUATION, random: np.random.Generator | None = None
) -> np.ndarray:
    """Apply `how` to (H, W, 3) uint8; the result has H and W times `how.scale`."""
    pixels = _scale_and_noise(pixels, how, random)
    return pixels if how.quality is None else jpeg(pixels, how.quality, how.full_chroma)


def equalised(
    source: Source,
    how: Draw = EVALUATION,
    *,
    size: SizePolicy = NATIVE,
    random: np.random.Generator | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    name: str | None = None,
) -> Equalised:
    """Decode a picture (upright, sRGB), bring it to `size`, apply `how`, and write it into the common container.

    The container is JPEG, or PNG where `how.quality` is None, without any metadata. Raises PictureError.
    """
    pixels = open_picture(source, max_megapixels=max_megapixels, name=name).pixels
    pixels, enlarged = resized(pixels, size)
    pixels = _scale_and_noise(pixels, how, random)
    data = encode(pixels, how)
    if how.quality is not None:
        pixels = _decode(data)
    return Equalised(pixels, data, enlarged)


def resized(pixels: np.ndarray, size: SizePolicy, *, mask: bool = False) -> tuple[np.ndarray, bool]:
    """`pixels` (H, W, 3) or a `mask` (H, W), both uint8, brought to `size`, and whether it had to be enlarged."""
    height, width = pixels.shape[:2]
    if size.kind == "native":
        return pixels, False
    factor = size.side / (max(height, width) if size.kind == "fit" else min(height, width))
    if size.kind == "fit" or factor > 1:
        target = (max(1, round(width * factor)), max(1, round(height * factor)))
        how = cv2.INTER_NEAREST if mask else cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, target, interpolation=how), dtype=np.uint8)
    if size.kind == "crop":
        height, width = pixels.shape[:2]
        top, left = ((length - size.side) // 2 // MARGIN * MARGIN for length in (height, width))
        pixels = np.ascontiguousarray(pixels[top : top + size.side, left : left + size.side])
    return pixels, factor > 1


def _scale_and_noise(pixels: np.ndarray, how: Draw, random: np.random.Generator | None) -> np.ndarray:
    if how.scale != 1.0:
        method = cv2.INTER_AREA if how.scale < 0.7 else how.interpolation
        pixels = cv2.resize(pixels, None, fx=how.scale, fy=how.scale, interpolation=method)
    if how.sigma and random is not None:
        noise = random.standard_normal(pixels.shape, dtype=np.float32) * how.sigma
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    return pixels


def jpeg(pixels: np.ndarray, quality: int, full_chroma: bool) -> np.ndarray:
    """One JPEG round trip; 4:4:4 where `full_chroma`, else 4:2:0."""
    return _decode(encode(pixels, Draw(quality=quality, full_chroma=full_chroma)))


def encode(pixels: np.ndarray, how: Draw = EVALUATION) -> bytes:
    """The file of (H, W, 3) uint8: JPEG at `how.quality`, PNG where that is None; no metadata."""
    if how.quality is None:
        _, data = cv2.imencode(".png", pixels[..., ::-1])
        return bytes(data)
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if how.full_chroma else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, how.quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], options)
    return bytes(data)


def _decode(data: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(decoded, dtype=np.uint8)[..., ::-1])
