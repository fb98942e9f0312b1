"""`Header`: what a file says of itself before decoding; `Parts`: the bytes of it that a decoder gets."""

from __future__ import annotations

import importlib
import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import CorruptPicture, UnsupportedFormat

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from pixelsleuth.pictures.formats.tiff_samples import Samples

Range = tuple[int, int]

MAX_ICC = 4 << 20
"""Bytes of a colour profile; real ones are below 3 MB, most below 4 kB."""
SMALL = 4 << 20
"""Bytes of a file that may be copied for speed."""


@dataclass
class Header:
    """What the header of a picture file says.

    `width` and `height` are as stored, 0 where only the decoder knows them. `parts`: byte ranges for the decoder.
    `working` is an upper estimate of the bytes that the decoder takes beside the file and the decoded picture. `opener`
    makes the Pillow image of a stream.

    `codes` are (primaries, transfer function) of the colour space by ITU-T H.273, where there is no ICC profile.
    `transparent` is the grey or colour that stands for transparency. `covered` is the box (x0, y0, x1, y1) that the
    picture covers; outside it the canvas is transparent. `steps` are the 64 quantisation steps of a JPEG's first
    component, in zigzag order.
    """

    format: str
    width: int
    height: int
    opener: Callable[[Any], ImageFile | Samples]
    parts: Sequence[Range] = ()
    working: int = 0
    working_per_pixel: float = 0.0
    pixel_bytes: int = 4
    orientation: int = 1
    icc: bytes | None = None
    exif: bytes | None = None
    codes: tuple[int, int] | None = None
    transparent: tuple[int, ...] | None = None
    covered: tuple[int, int, int, int] | None = None
    steps: tuple[int, ...] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Parts(io.RawIOBase):
    """A read-only file made of ranges of `data`, one after the other; nothing is copied before it is read."""

    def __init__(self, data: memoryview, ranges: Sequence[Range] = ()) -> None:
        super().__init__()
        self._data: memoryview | None = data
        self._ranges = [(start, stop) for start, stop in ranges or [(0, len(data))] if stop > start]
        self._starts = [0]
        for start, stop in self._ranges:
            self._starts.append(self._starts[-1] + stop - start)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of the file")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        if self._data is None:
            raise ValueError("read of closed file")
        left = self._starts[-1] - self._at
        size = max(0, left if size is None or size < 0 else min(size, left))
        pieces = []
        while size > 0:
            index = bisect_right(self._starts, self._at) - 1
            start, stop = self._ranges[index]
            begin = start + self._at - self._starts[index]
            end = min(stop, begin + size)
            pieces.append(bytes(self._data[begin:end]))
            self._at += end - begin
            size -= end - begin
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: Any) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._data = None
        super().close()


def stream_of(data: memoryview, ranges: Sequence[Range] = ()) -> io.RawIOBase | io.BytesIO:
    """The ranges of `data` as a file. Small ones are copied into one piece, which is read several times as fast."""
    if len(data) > SMALL:
        return Parts(data, ranges)
    return io.BytesIO(b"".join(data[start:stop] for start, stop in ranges) if ranges else bytes(data))


def pillow(plugin: str, name: str = "") -> Callable[[Any], ImageFile]:
    """What opens a stream with Pillow's reader of this format ("Gif", "Jpeg", ...), which is imported only then.

    A build of Pillow may lack the codec (WebP, AVIF): then UnsupportedFormat is raised, with `name` in its sentence.
    """

    def opener(stream: Any) -> ImageFile:
        if plugin in ("WebP", "Avif"):
            from PIL import features

            if not features.check(plugin.lower()):
                spelled = {"Avif": "AVIF"}.get(plugin, plugin)
                raise UnsupportedFormat(
                    f"{name} is {spelled}, which this build of Pillow cannot read; save it as JPEG or PNG."
                )
        module = importlib.import_module(f"PIL.{plugin}ImagePlugin")
        image: ImageFile = getattr(module, f"{plugin}ImageFile")(stream)
        return image

    return opener


def truncated(name: str) -> CorruptPicture:
    """The error for a file that ends too early."""
    return CorruptPicture(
        f"{name} is cut off: the file ends before the picture does; download or copy it again."
    )


def corrupt(name: str, what: str) -> CorruptPicture:
    """The error for a damaged file; `what` says where, in a few words."""
    return CorruptPicture(f"{name} is damaged ({what}); download or copy it again.")
