"""Reads any picture safely into one form: upright 8-bit sRGB (`Picture`).

The order matters: the size of the file, its header (`pictures.formats`), the limits, then Pillow's decoder, which gets
only the bytes that make pixels. Any file gives a Picture or a PictureError, within 1 GiB of memory for pictures of up
to 100 megapixels. See `docs/reference/reading-pictures.md`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import (
    NotAPicture,
    PictureError,
    PictureTooLarge,
    PictureTooSmall,
    UsageError,
)
from pixelsleuth.pictures.files import MAX_FILE_BYTES, file_too_large, find_pictures, read_file
from pixelsleuth.pictures.formats import Header, read_header

if TYPE_CHECKING:
    from PIL import Image

    from pixelsleuth.core.detector import Source

MAX_MEGAPIXELS = 100.0
MIN_SIDE = 16
ROUNDING = 1e-3
"""How far beyond 0..1 floats may lie: the rounding error of half precision."""
SPOKEN = {"bytes": "The file in memory", "array": "The array", "image": "The image"}
"""What errors call a source without a name."""
log = logging.getLogger("pixelsleuth")
Examine = Callable[[memoryview, Header], Sequence[Any]]
"""Reads a file's bytes and header before they are decoded, and returns findings (`core.examining.Evidence`)."""
MEMORY_BUDGET = 900 << 20
"""Bytes that decoding may hold at a time, file and decoded picture included; the process takes the rest of 1 GiB."""


@dataclass(frozen=True)
class Picture:
    """A picture ready to be judged.

    `pixels` is (height, width, 3) uint8 sRGB, upright, contiguous. `sha256` is of the file's bytes, or of the pixels
    where the source was an array or a PIL image. `metadata` holds short clean texts for people; it is no evidence.
    `evidence` is what the bytes of the file say by themselves (`open_picture(examine=...)`), None where nobody looked;
    `exif`, `orientation` (1 to 8) and `steps` (`Header`) are those of the file.
    """

    source: str
    sha256: str
    pixels: NDArray[np.uint8] = field(repr=False)
    format: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    evidence: tuple[Any, ...] | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    orientation: int = 1
    steps: tuple[int, ...] | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


def open_picture(
    source: Source,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    name: str | None = None,
    examine: Examine | None = None,
) -> Picture:
    """Read a picture: a path, the bytes of a file, a file opened with "rb", a PIL image, or an array.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool or floats in 0..1 (rounding errors are
    cut off). `name` stands for the source in the result and in errors. A Picture is returned as it is. `examine` is
    called with the bytes of a file, read once, and its header; it gives `Picture.evidence`, and where the picture is
    refused or broken the `evidence` of the error.

    Raises UsageError for a `max_megapixels` that is no positive number, and PictureNotFound, NotAPicture,
    UnsupportedFormat, PictureTooLarge, PictureTooSmall or CorruptPicture.

    >>> import numpy as np
    >>> open_picture(np.zeros((48, 64), np.uint8), name="black").pixels.shape
    (48, 64, 3)
    """
    if isinstance(source, Picture):
        return source
    if not 0 < max_megapixels < float("inf"):
        raise UsageError(f"max_megapixels is {max_megapixels}: give a positive number, such as 100.")
    label = name or source_name(source)
    limit = max_megapixels * 1e6
    is_path = isinstance(source, str | PathLike)
    spoken = label if name or is_path else SPOKEN.get(label, label)
    try:
        data = file_bytes(source, spoken)
        if data is not None:
            return _from_file(data, label, limit, spoken, examine)
        if isinstance(source, np.ndarray):
            return _from_array(source, label, limit, spoken)
        if _is_pil(source):
            return _from_pil(source, label, limit, spoken)
    except MemoryError:
        raise PictureTooLarge(
            f"{spoken} needs more memory than there is; scale it down and check that."
        ) from None
    kind = type(source).__name__
    raise NotAPicture(
        f"{'An' if kind[0] in 'aeiouAEIOU' else 'A'} {kind} is not a picture; give a path, bytes, an open file, "
        "a PIL image or an array."
    )


def file_bytes(source: Source, spoken: str) -> bytearray | None:
    """The bytes of a file: of a path, bytes or an open file; None for a source that is decoded already.

    `spoken` is how errors call it. Raises PictureError for what cannot be read or has too many bytes.
    """
    if isinstance(source, str | PathLike):
        return read_file(os.fspath(source), spoken)
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) > MAX_FILE_BYTES:
            raise file_too_large(spoken, len(source))
        return bytearray(source)
    if isinstance(source, np.ndarray) or _is_pil(source) or not hasattr(source, "read"):
        return None
    return _read_stream(source, spoken)


def _read_stream(stream: Any, spoken: str) -> bytearray:
    """The bytes that an open file still holds, as many as are read of a file on disk."""
    try:
        data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError, TypeError) as error:  # a directory, a closed file, a reader of another kind
        raise NotAPicture(f"{spoken} cannot be read ({error}); open it with mode 'rb'.") from None
    if not isinstance(data, bytes | bytearray):
        raise NotAPicture(f"{spoken} gives no bytes, but {type(data).__name__}; open it with mode 'rb'.")
    if len(data) > MAX_FILE_BYTES:
        raise file_too_large(spoken, len(data))
    return bytearray(data)


def source_name(source: Any) -> str:
    """Return what stands in `Verdict.source` for this source."""
    if isinstance(source, Picture):
        return source.source
    if isinstance(source, str | PathLike):
        path = os.fspath(source)
        return path if isinstance(path, str) else os.fsdecode(path)
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    if isinstance(source, np.ndarray):
        return "array"
    filename = getattr(source, "name" if hasattr(source, "read") else "filename", "")
    if isinstance(filename, str) and filename:
        return filename
    return "bytes" if hasattr(source, "read") else "image"


def check_size(width: int, height: int, label: str, limit: float) -> None:
    """Raise PictureTooLarge for more than `limit` pixels, PictureTooSmall for a side below MIN_SIDE."""
    if width * height > limit:
        raise PictureTooLarge(
            f"{label} has {width} x {height} pixels ({width * height / 1e6:.0f} megapixels), more than "
            f"the limit of {limit / 1e6:g}; scale it down or raise the limit."
        )
    if min(width, height) < MIN_SIDE:
        raise PictureTooSmall(
            f"{label} has {width} x {height} pixels, too few to judge; give at least {MIN_SIDE} on a side."
        )


def _check_memory(header: Header, file_bytes: int, pixels: int, label: str, limit: float) -> None:
    needed = file_bytes + header.working + int((header.pixel_bytes + header.working_per_pixel) * pixels)
    budget = max(MEMORY_BUDGET, int(MEMORY_BUDGET * limit / (MAX_MEGAPIXELS * 1e6)))
    if needed > budget:
        raise PictureTooLarge(
            f"{label} ({pixels / 1e6:.0f} megapixels, {header.format}) would take {needed / 2**30:.1f} GiB "
            "to decode; save it as a usual JPEG or PNG, or scale it down."
        )


def _from_file(
    data: bytearray, label: str, limit: float, spoken: str, examine: Examine | None = None
) -> Picture:
    """Read the bytes of a file; `label` is the picture's source, `spoken` what errors call it."""
    from pixelsleuth.pictures.decode import decode

    sha256 = hashlib.sha256(data).hexdigest()
    header = read_header(memoryview(data), spoken)
    size = len(data)

    def check(width: int, height: int) -> None:
        check_size(width, height, spoken, limit)
        _check_memory(header, size, width * height, spoken, limit)

    evidence = None if examine is None else _examined(examine, data, header)
    try:
        if header.width:
            check(header.width, header.height)
        pixels = decode(data, header, spoken, check)
    except PictureError as error:
        error.evidence = evidence
        raise
    return Picture(
        label,
        sha256,
        pixels,
        header.format,
        _clean(header.metadata),
        tuple(header.warnings),
        evidence,
        header.exif,
        header.orientation,
        header.steps,
    )


def _examined(examine: Examine, data: bytearray, header: Header) -> tuple[Any, ...] | None:
    """The findings of `examine`; its faults cost the evidence and a warning, never the verdict."""
    try:
        return tuple(examine(memoryview(data), header))
    except Exception:
        log.exception("examining a file failed")
        header.warnings.append("What the file says by itself could not be read.")
        return None


def _is_pil(source: Any) -> TypeGuard[Image.Image]:
    from PIL import Image

    return isinstance(source, Image.Image)


def _from_pil(image: Image.Image, label: str, limit: float, spoken: str) -> Picture:
    from pixelsleuth.pictures.colour import render
    from pixelsleuth.pictures.decode import translated
    from pixelsleuth.pictures.exif import read_exif

    check_size(image.width, image.height, spoken, limit)
    with translated(spoken):
        image.load()
        exif = image.info.get("exif")
        xmp = image.info.get("xmp") if image.format not in ("AVIF", "HEIF") else None
        orientation, metadata = read_exif(
            [exif] if isinstance(exif, bytes) else [], xmp if isinstance(xmp, bytes) else None
        )
        icc = image.info.get("icc_profile")
        pixels, warnings, profile = render(image, icc if isinstance(icc, bytes) else None, orientation)
    metadata["mode"] = image.mode
    if profile:
        metadata["colour_profile"] = profile
    return Picture(label, _digest(pixels), pixels, image.format, _clean(metadata), tuple(warnings))


def _from_array(array: NDArray[Any], label: str, limit: float, spoken: str) -> Picture:
    from pixelsleuth.pictures.colour import from_array

    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise NotAPicture(
            f"An array of shape {array.shape} is no picture; give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."
        )
    if array.dtype not in (np.uint8, np.uint16, np.bool_) and array.dtype.kind != "f":
        raise NotAPicture(
            f"An array of {array.dtype} is no picture; give uint8, uint16, bool or floats in 0..1."
        )
    check_size(array.shape[1], array.shape[0], spoken, limit)
    metadata = {"mode": f"array {array.dtype}"}
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        array = _in_range(array)
    warnings: list[str] = []
    pixels = from_array(array, warnings)
    return Picture(label, _digest(pixels), pixels, None, metadata, tuple(warnings))


def _in_range(array: NDArray[Any]) -> NDArray[Any]:
    """Floats cut to 0..1. Raises NotAPicture where they lie further off than rounding explains, and for NaN."""
    low, high = float(array.min()), float(array.max())
    if not (low >= -ROUNDING and high <= 1.0 + ROUNDING):
        raise NotAPicture(
            f"An array of floats must lie in 0..1, not {low:g}..{high:g}; scale it, or give uint8."
        )
    return array if low >= 0.0 and high <= 1.0 else array.clip(0.0, 1.0)


def _digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(pixels.data).hexdigest()


def _clean(metadata: dict[str, str]) -> dict[str, str]:
    """Shorten texts out of untrusted files and drop what does not print, terminal escapes above all."""
    clean = {}
    for key, text in metadata.items():
        short = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:400]).split())[
            :200
        ]
        if short:
            clean[key] = short
    return clean


__all__ = ["MAX_MEGAPIXELS", "MIN_SIDE", "Picture", "find_pictures", "open_picture", "source_name"]
