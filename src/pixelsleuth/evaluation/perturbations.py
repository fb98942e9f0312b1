"""Perturbations: what sharing does to a picture, with the mask kept in step.

A perturbation is written `name:value:option...`; several are chained with `+`: `resize:0.5+jpeg:70`. `parse` reads such
a text into a `Chain`; `Chain.apply` changes (H, W, 3) uint8 pixels and a (H, W) bool mask. The mask follows geometry
(nearest neighbour) and nothing else. What is random is seeded by the picture's name, so that a rerun draws the same
noise. `docs/reference/evaluate.md` lists them with defaults and says what the papers leave open.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.settings import Range
from pixelsleuth.errors import UsageError

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Both = tuple[Pixels, Mask | None]
Operation = Callable[[Pixels, Mask | None, np.random.Generator], Both]

PAPER = ("jpeg:70", "jpeg:80", "resize:0.5", "resize:0.75", "noise:5", "noise:10")
"""The six of SIDA's robustness table (the scale of its noise is not published; see `noise`)."""
SMALLEST = 16


@dataclass(frozen=True)
class Chain:
    """A parsed perturbation; `spec` is its text as results name it."""

    spec: str
    operations: tuple[Operation, ...]

    def apply(self, pixels: Pixels, mask: Mask | None = None, *, key: str = "", seed: int = 0) -> Both:
        """Return the changed pixels (H', W', 3) and mask (H', W'); `key` names the picture and seeds what is random."""
        digest = hashlib.sha256(f"{seed}/{self.spec}/{key}".encode("utf-8", "surrogateescape")).digest()
        random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        for operation in self.operations:
            pixels, mask = operation(pixels, mask, random)
        return np.ascontiguousarray(pixels), mask


def parse(spec: str) -> Chain:
    """The chain that a text such as `jpeg:70`, `noise:5:sigma` or `resize:0.5:back+webp:80` describes.

    Raises UsageError for an unknown name, value or option.
    """
    operations: list[Operation] = []
    for part in spec.strip().split("+"):
        name, *arguments = part.strip().split(":")
        if name == "platform":
            operations += _platform(arguments, spec)
            continue
        make = MAKERS.get(name)
        if make is None:
            raise UsageError(f"There is no perturbation {name!r}{suggestion(name, (*MAKERS, 'platform'))}")
        try:
            operations.append(make(arguments))
        except (ValueError, IndexError) as error:
            raise UsageError(f"The perturbation {part!r} cannot be read: {error}.") from None
    return Chain(spec.strip(), tuple(operations))


def jpeg(pixels: Pixels, quality: int, subsampling: int = 2) -> Pixels:
    """One JPEG round trip by Pillow; `subsampling` 0 is 4:4:4, 2 is 4:2:0."""
    return _coded(pixels, "JPEG", quality=quality, subsampling=subsampling)


def scale(pixels: Pixels, mask: Mask | None, size: tuple[int, int]) -> Both:
    """Resize to `size` (width, height): bicubic with the support of the reduction, the mask by its nearest pixel."""
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels, mask
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    return small, None if mask is None else resize_mask(mask, size)


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """(H, W) bool to `size` (width, height), nearest neighbour."""
    picture = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    return np.asarray(picture.resize(size, Image.Resampling.NEAREST)) > 127


def _coded(pixels: Pixels, kind: str, **options: Any) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    buffer.seek(0)
    with Image.open(buffer, formats=[kind]) as image:
        return np.asarray(image.convert("RGB"))


def _make_jpeg(arguments: Sequence[str]) -> Operation:
    """jpeg:QUALITY[:444|420]; one JPEG pass, 4:2:0 unless 4:4:4 is asked for"""
    quality = _number(arguments, 1, 100, "the quality", int)
    subsampling = 0 if "444" in _options(arguments[1:], "444", "420") else 2
    return lambda p, m, _: (jpeg(p, quality, subsampling), m)


def _make_double_jpeg(arguments: Sequence[str]) -> Operation:
    """double_jpeg:FIRST,SECOND; two JPEG passes"""
    qualities = _value(arguments).split(",")
    first, second = (_number([quality], 1, 100, "the quality", int) for quality in qualities)
    return lambda p, m, _: (jpeg(jpeg(p, first), second), m)


def _make_webp(arguments: Sequence[str]) -> Operation:
    """webp:QUALITY; one WebP pass"""
    quality = _number(arguments, 1, 100, "the quality", int)
    return lambda p, m, _: (_coded(p, "WEBP", quality=quality, method=4), m)


def _make_resize(arguments: Sequence[str]) -> Operation:
    """resize:FACTOR[:back]; bicubic scaling; `back` restores the size, so that only the lost detail counts"""
    factor, back = _number(arguments, 0.05, 4.0, "the factor"), "back" in _options(arguments[1:], "back")

    def operation(pixels: Pixels, mask: Mask | None, _: Any) -> Both:
        size = (pixels.shape[1], pixels.shape[0])
        small, small_mask = scale(pixels, mask, _times(size, factor))
        return (scale(small, None, size)[0], mask) if back else (small, small_mask)

    return operation


def _make_fit(arguments: Sequence[str]) -> Operation:
    """fit:SIDE; the longer side becomes SIDE pixels where it is longer"""
    side = _number(arguments, SMALLEST, 16384, "the side", int)

    def operation(pixels: Pixels, mask: Mask | None, _: Any) -> Both:
        size = (pixels.shape[1], pixels.shape[0])
        return scale(pixels, mask, _times(size, side / max(size))) if max(size) > side else (pixels, mask)

    return operation


def _make_noise(arguments: Sequence[str]) -> Operation:
    """noise:VALUE[:var|sigma]; Gaussian noise; VALUE is the variance on 0 to 255, or the deviation with `sigma`"""
    value = _number(arguments, 0.0, 10_000.0, "the strength")
    sigma = value if "sigma" in _options(arguments[1:], "var", "sigma") else value**0.5

    def operation(pixels: Pixels, mask: Mask | None, random: np.random.Generator) -> Both:
        noise = random.standard_normal(pixels.shape, dtype=np.float32) * np.float32(sigma)
        return (pixels + noise).round().clip(0, 255).astype(np.uint8), mask

    return operation


def _make_blur(arguments: Sequence[str]) -> Operation:
    """blur:SIGMA; Gaussian blur, the deviation in pixels"""
    sigma = _number(arguments, 0.0, 50.0, "the sigma")
    return lambda p, m, _: (np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(sigma))), m)


def _make_crop(arguments: Sequence[str]) -> Operation:
    """crop:FACTOR[:random]; a window of FACTOR times each side: the middle, or a random one"""
    factor, anywhere = _number(arguments, 0.05, 1.0, "the factor"), _options(arguments[1:], "random")

    def operation(pixels: Pixels, mask: Mask | None, random: np.random.Generator) -> Both:
        width, height = _times((pixels.shape[1], pixels.shape[0]), factor)
        room = (pixels.shape[0] - height, pixels.shape[1] - width)
        top, left = (int(random.integers(0, r + 1)) if anywhere else r // 2 for r in room)
        window = np.s_[top : top + height, left : left + width]
        return pixels[window], None if mask is None else mask[window]

    return operation


def _make_rotate(arguments: Sequence[str]) -> Operation:
    """rotate:DEGREES; counter-clockwise; quarter turns are exact, others keep the size and fill with black"""
    degrees = _number(arguments, -360.0, 360.0, "the angle")

    def operation(pixels: Pixels, mask: Mask | None, _: Any) -> Both:
        if degrees % 90 == 0:
            turns = int(degrees // 90) % 4
            return np.rot90(pixels, turns), None if mask is None else np.ascontiguousarray(
                np.rot90(mask, turns)
            )
        turned = np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC))
        if mask is None:
            return turned, None
        picture = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
        return turned, np.asarray(picture.rotate(degrees, Image.Resampling.NEAREST)) > 127

    return operation


def _make_hflip(arguments: Sequence[str]) -> Operation:
    """hflip; mirror"""
    _options(arguments)
    return lambda p, m, _: (p[:, ::-1], None if m is None else np.ascontiguousarray(m[:, ::-1]))


def _make_sharpen(arguments: Sequence[str]) -> Operation:
    """sharpen:FACTOR; 1 changes nothing"""
    factor = _number(arguments, 0.0, 20.0, "the factor")
    return lambda p, m, _: (np.asarray(ImageEnhance.Sharpness(Image.fromarray(p)).enhance(factor)), m)


def _make_contrast(arguments: Sequence[str]) -> Operation:
    """contrast:FACTOR; 1 changes nothing"""
    factor = _number(arguments, 0.0, 20.0, "the factor")
    return lambda p, m, _: (np.asarray(ImageEnhance.Contrast(Image.fromarray(p)).enhance(factor)), m)


def _make_screenshot(arguments: Sequence[str]) -> Operation:
    """screenshot[:FACTOR]; shown at 0.8 of its size (or FACTOR), saved as JPEG 85"""
    factor = _number(arguments, 0.05, 4.0, "the factor") if arguments else 0.8

    def operation(pixels: Pixels, mask: Mask | None, _: Any) -> Both:
        shown, shown_mask = scale(pixels, mask, _times((pixels.shape[1], pixels.shape[0]), factor))
        return jpeg(shown, 85), shown_mask

    return operation


MAKERS: dict[str, Callable[[Sequence[str]], Operation]] = {
    make.__name__.removeprefix("_make_"): make for make in (
        _make_jpeg, _make_double_jpeg, _make_webp, _make_resize, _make_fit, _make_noise, _make_blur, _make_crop,
        _make_rotate, _make_hflip, _make_sharpen, _make_contrast, _make_screenshot,
    )
}  # fmt: skip
"""Name -> what reads its arguments; the docstring of each shows how it is written."""
PLATFORMS = {
    "feed": "fit:2048+jpeg:85",
    "story": "fit:1080+jpeg:80",
    "messenger": "fit:1600+jpeg:70",
    "repost": "fit:2048+jpeg:85+screenshot+fit:1080+jpeg:75",
}
"""What kinds of platform do, by order of size. No platform publishes its settings; these are our assumptions."""


def _platform(arguments: Sequence[str], spec: str) -> tuple[Operation, ...]:
    if len(arguments) != 1 or arguments[0] not in PLATFORMS:
        hint = suggestion(":".join(arguments), PLATFORMS)
        raise UsageError(f"{spec!r} names no platform, as platform:feed does{hint}")
    return parse(PLATFORMS[arguments[0]]).operations


def _times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    width, height = (max(min(SMALLEST, side), round(side * factor)) for side in size)
    return width, height


def _value(arguments: Sequence[str]) -> str:
    if not arguments:
        raise ValueError("it needs a value")
    return arguments[0]


def _number(arguments: Sequence[str], low: float, high: float, what: str, kind: type = float) -> Any:
    """The first argument as `kind`, within `low`..`high`. Raises ValueError."""
    value, allowed = kind(_value(arguments)), Range(low, high)
    if value not in allowed:
        raise ValueError(f"{what} must be {allowed}")
    return value


def _options(arguments: Sequence[str], *known: str) -> set[str]:
    unknown = set(arguments) - set(known)
    if unknown:
        allowed = ", ".join(known) or "none"
        raise ValueError(f"unknown option {', '.join(sorted(unknown))} (options: {allowed})")
    if len(set(arguments)) > 1:
        raise ValueError(f"{' and '.join(arguments)} exclude each other")
    return set(arguments)
