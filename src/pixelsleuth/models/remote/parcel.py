"""What is sent of a picture, and the verdict on it out of the record that comes back."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import PictureError
from pixelsleuth.pictures.formats import read_header, sniff
from pixelsleuth.pictures.images import SPOKEN, Picture, check_size, file_bytes, open_picture, source_name

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Source

MOST_PIXELS = 1 << 30
"""Pixels of the largest mask that is unpacked."""
HEAD = 64
"""Bytes that show the format of a file."""


@dataclass(frozen=True)
class Parcel:
    """A picture on its way: `data` is sent, `source` stands in the verdict, errors call it `spoken`.

    `picture` where the source was decoded already; `keep` where its pixels cannot be read again from a file.
    """

    source: str
    spoken: str
    data: bytes
    picture: Picture | None
    keep: bool


def parcel_of(source: Source, max_megapixels: float) -> Parcel:
    """What is sent of a picture: a file's own bytes; an array, PIL image or Picture as PNG.

    Raises PictureError for a source that cannot be read, that does not begin as a picture of a format that is read, or
    that has too many pixels.
    """
    label = source_name(source)
    spoken = label if isinstance(source, str | PathLike) else SPOKEN.get(label, label)
    data = None if isinstance(source, Picture) else file_bytes(source, spoken)
    if data is None:
        picture = open_picture(source, max_megapixels=max_megapixels)
        return Parcel(picture.source, spoken, _png(picture), picture, keep=True)
    if sniff(bytes(data[:HEAD])) is None:
        read_header(memoryview(data), spoken)  # says what it is instead
    _ensure_size(data, spoken, max_megapixels)
    return Parcel(label, spoken, bytes(data), None, keep=not isinstance(source, str | PathLike))


def verdict_of(record: Mapping[str, Any], parcel: Parcel) -> Verdict:
    """The verdict out of the service's record of a parcel, with what is known here and not there.

    Raises ValueError, KeyError, TypeError, AttributeError or PictureError for what is no record.
    """
    mask = record["mask"]
    if mask is not None:  # a file would be one of this machine
        height, width = mask["rle"]["size"]
        if [height, width] != [record["height"], record["width"]] or not 0 < height * width <= MOST_PIXELS:
            raise ValueError("a mask of another size than the picture")
    verdict = Verdict.from_dict(record)
    verdict.source = parcel.source
    if verdict.error is not None:
        message = str(verdict.error["message"])
        nameless = SPOKEN["bytes"]
        if message.startswith(nameless):
            message = parcel.spoken + message.removeprefix(nameless)
        verdict.error = {"code": str(verdict.error["code"]), "message": message}
    elif parcel.picture is not None:
        picture = parcel.picture
        verdict.picture, verdict.sha256, verdict.metadata = picture, picture.sha256, dict(picture.metadata)
        verdict.warnings = [*picture.warnings, *verdict.warnings]
    elif parcel.keep:
        with contextlib.suppress(PictureError):  # the service may read formats that are not read here
            verdict.picture = open_picture(parcel.data, max_megapixels=MOST_PIXELS / 1e6, name=parcel.source)
    return verdict


def _ensure_size(data: bytearray, spoken: str, max_megapixels: float) -> None:
    """Raise PictureError for too many or too few pixels; what else is wrong with a header the service says."""
    try:
        header = read_header(memoryview(data), spoken)
    except PictureError:
        return
    if header.width:
        check_size(header.width, header.height, spoken, max_megapixels * 1e6)


def _png(picture: Picture) -> bytes:
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(picture.pixels).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()
