"""TIFF and BigTIFF: the first page. Source: TIFF 6.0; BigTIFF; TIFF Technical Note 2 (JPEG)."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelsleuth.errors import UnsupportedFormat
from pixelsleuth.pictures.exif import (
    MAX_XMP,
    ORIENTATION,
    Directory,
    fields_of,
    read_directory,
    xmp_orientation,
)
from pixelsleuth.pictures.formats.base import MAX_ICC, Header, corrupt, pillow, truncated
from pixelsleuth.pictures.formats.tiff_layout import (
    EXTRA_IGNORED,
    MAX_PIECES,
    check_pieces,
    layout_of,
    reader_of,
)
from pixelsleuth.pictures.formats.tiff_samples import Samples, working_bytes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_WIDTH, _HEIGHT, _BITS, _STRIPS, _TILES = 256, 257, 258, 273, 324
_SUBFILE, _SUB_IFDS, _DNG, _ICC, _XMP = 254, 330, 50706, 34675, 700
# What turns the file into pixels, and nothing else. Left out, among others: layers and XMP (megabytes), EXIF and
# sub-directories (read by a naive reader), orientation (Pillow would turn the picture in a second copy).
_LAYOUT = {256, 257, 258, 259, 262, 273, 277, 278, 279, 322, 323, 324, 325}
# Fill order, planes, fax options, predictor, palette, inks, extra samples, sample format, JPEG tables (the new and the
# old way), YCbCr, LERC.
_DECODING = {266, 284, 292, 293, 317, 320, 332, 338, 339, 347, *range(512, 522), *range(529, 533), 50674}
_DECODER_NEEDS = frozenset(_LAYOUT | _DECODING)
MAX_FIELD = 4 << 20


def read(data: memoryview, name: str) -> Header:
    """Read the first directory; where `data` is writable, strike out what the decoder does not need."""
    if bytes(data[8:10]) == b"CR":
        raise _raw(name)
    directory = read_directory(data)
    if directory is None:
        raise truncated(name) if len(data) < 1 << 16 else corrupt(name, "its directory cannot be read")
    if _DNG in directory.fields or (directory.number(_SUBFILE) & 1 and _SUB_IFDS in directory.fields):
        raise _raw(name)  # its first directory is a thumbnail
    width, height = directory.number(_WIDTH), directory.number(_HEIGHT)
    if width <= 0 or height <= 0:
        raise corrupt(name, "its header does not say how large it is")
    _bound_fields(directory, name)
    layout = layout_of(directory, name)
    reader = reader_of(layout, name)
    check_pieces(layout, directory, name)
    if reader == "samples":
        _silence_libtiff()
    header = Header("TIFF", width, height, _open_through_libtiff if reader == "libtiff" else _open)
    if reader == "samples":
        samples = Samples(data, layout, directory, name)
        header.opener = lambda stream: samples
        header.working = working_bytes(layout)
    elif layout.compression != 1 or reader == "libtiff":
        header.working = layout.row_bytes * layout.down  # libtiff holds a piece beside the picture
    header.orientation, header.metadata = fields_of(directory)
    xmp = directory.fields.get(_XMP)
    if ORIENTATION not in directory.fields and xmp is not None and xmp.size <= MAX_XMP:
        header.orientation = xmp_orientation(directory.value(_XMP)) or 1
    bits = directory.numbers(_BITS)
    header.metadata["bit_depth"] = str(max(bits)) if bits else "1"
    icc = directory.fields.get(_ICC)
    if icc is not None and icc.size <= MAX_ICC:
        header.icc = directory.value(_ICC) or None
    if layout.ignored:
        header.warnings.append(EXTRA_IGNORED)
    if directory.next:
        header.warnings.append("A file of several pages: only the first was judged.")
    if not data.readonly and reader != "samples":
        _strike_out(data, directory)
    return header


def _open(stream: io.RawIOBase) -> ImageFile:
    _silence_libtiff()
    return pillow("Tiff")(stream)


def _open_through_libtiff(stream: io.RawIOBase) -> ImageFile:
    """YCbCr that is not compressed: Pillow itself knows neither its subsampling nor its reference values."""
    from PIL.ImageFile import _Tile

    image: Any = _open(stream)
    image._mode = "RGB"
    image.use_load_libtiff = True
    image.tile = [_Tile("libtiff", (0, 0, *image.size), 0, ("RGBX", False, image.tag_v2._offset))]
    return image


@functools.cache
def _silence_libtiff() -> None:
    """Stop libtiff from printing a line for every damaged row; errors still reach us through Pillow.

    Pillow offers no switch, so this calls the library that its wheels bring. Where it is not found
    (builds that link it in), the lines appear on stderr and do no harm.
    """
    import ctypes

    import PIL

    home = Path(PIL.__file__).parent
    for library in (*home.parent.glob("pillow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")):
        with contextlib.suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(str(library))
            loaded.TIFFSetErrorHandler(None)
            loaded.TIFFSetWarningHandler(None)


def _raw(name: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"{name} is a camera raw file, which is not read; export it as JPEG or TIFF.")


def _bound_fields(directory: Directory, name: str) -> None:
    for tag, field in directory.fields.items():
        if tag in _DECODER_NEEDS and field.size > MAX_FIELD:
            raise corrupt(name, f"its field {tag} is unreasonably long")
    for tag in (_STRIPS, _TILES):
        if tag in directory.fields and directory.fields[tag].count > MAX_PIECES:
            raise corrupt(name, "it is cut into hundreds of thousands of pieces")


def _strike_out(data: memoryview, directory: Directory) -> None:
    """Rewrite the directory in place with the needed fields alone and no next page."""
    kept = [directory.fields[tag].raw for tag in sorted(directory.fields) if tag in _DECODER_NEEDS]
    count = struct.pack(directory.order + ("Q" if directory.big else "H"), len(kept))
    table = count + b"".join(kept) + bytes(8 if directory.big else 4)
    end = min(directory.start + len(table), len(data))
    data[directory.start : end] = table[: end - directory.start]
