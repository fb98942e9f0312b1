"""Runs the decoder on untrusted bytes, in this one place, and turns its failures into our errors."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import PictureError, PictureTooLarge, UnsupportedFormat
from pixelsleuth.pictures.exif import read_exif
from pixelsleuth.pictures.formats.base import MAX_ICC, Header, Parts, corrupt, stream_of, truncated

log = logging.getLogger("pixelsleuth")

UNSUPPORTED = ("unsupported", "unknown pixel mode", "not supported", "not yet supported")
"""What decoders say of a variant that they do not know."""


def decode(
    data: bytearray, header: Header, label: str, check: Callable[[int, int], None]
) -> NDArray[np.uint8]:
    """Return the upright sRGB pixels (H, W, 3) uint8 of the file `data` and complete its `header`.

    `check(width, height)` is called with the size that the decoder announces, before it decodes. `data` is emptied as
    soon as it has been decoded, to make room for the result. Raises PictureError.
    """
    from pixelsleuth.pictures.colour import render
    from pixelsleuth.pictures.deep import render_samples
    from pixelsleuth.pictures.formats.tiff_samples import Samples

    with translated(label), guarded():
        view = memoryview(data)
        stream = _Contents(view, header.parts) if header.format == "TIFF" else stream_of(view, header.parts)
        image: Any = header.opener(stream)
        check(image.width, image.height)
        _take_info(header, image)
        header.metadata["mode"] = image.mode
        image.load()
        low = _low_bytes(image, header, stream)
        # Decoders keep the file, the planes and what they decoded it into: hundreds of megabytes for large
        # pictures.
        for name in ("fp", "_fp", "_decoder", "_heif_file", "png"):
            if getattr(image, name, None) is not None:
                with contextlib.suppress(AttributeError):
                    setattr(image, name, None)
        stream.close()
        with contextlib.suppress(BufferError):  # a decoder that still looks at the bytes keeps them
            view.release()
            data.clear()
        if isinstance(image, Samples):
            pixels, notes, profile = render_samples(image, header.icc, header.orientation)
        else:
            pixels, notes, profile = render(
                image,
                header.icc,
                header.orientation,
                transparent=header.transparent,
                low=low,
                covered=header.covered,
            )
    header.warnings += notes
    if profile:
        header.metadata["colour_profile"] = profile
    return pixels


class _Contents(Parts):
    """A file whose `getvalue` gives all of it without a copy, as Pillow's TIFF reader needs it."""

    def getvalue(self) -> memoryview:
        assert self._data is not None
        return self._data


def _low_bytes(image: Any, header: Header, stream: Any) -> Any:
    """A second image with the lower bytes of 16-bit colours, where a transparent colour is compared with them."""
    if not (header.transparent and image.mode == "RGB" and header.metadata.get("bit_depth") == "16"):
        return None
    from pixelsleuth.pictures.formats.png import open_low_bytes

    stream.seek(0)
    low = open_low_bytes(stream)
    low.load()
    return low


def _take_info(header: Header, image: Any) -> None:
    """Take over what only the decoder finds (WebP, AVIF, HEIC), and turn named colour spaces into profiles."""
    if header.format in ("WEBP", "AVIF", "HEIF"):
        icc, exif, xmp = (image.info.get(name) for name in ("icc_profile", "exif", "xmp"))
        if isinstance(icc, bytes) and len(icc) <= MAX_ICC:
            header.icc = icc
        # AVIF and HEIC have boxes for the orientation, which the decoder applies or states as EXIF: no XMP there.
        packet = xmp if header.format == "WEBP" and isinstance(xmp, bytes) else None
        header.orientation, texts = read_exif([exif] if isinstance(exif, bytes) else [], packet)
        header.metadata |= texts
        if header.format != "WEBP" and getattr(image, "n_frames", 1) > 1:
            header.warnings.append("A file of several pictures: only the first was judged.")
    if header.codes is not None and (header.icc is None or header.format == "PNG"):
        from pixelsleuth.pictures.profiles import profile_of

        icc, warning = profile_of(*header.codes, grey=image.mode in ("1", "L", "LA", "I;16"))
        if warning is None:
            header.icc = icc  # in PNG it also stands above an ICC profile
        elif header.icc is None:
            header.warnings.append(warning)


@contextlib.contextmanager
def translated(label: str) -> Iterator[None]:
    """Turn whatever a decoder raises, on fuzzed files any exception at all, into a PictureError."""
    from PIL import Image

    try:
        yield
    except (PictureError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise PictureTooLarge(
            f"{label} unfolds to far more pixels than it says; it was not decoded."
        ) from None
    except Exception as error:
        log.debug("decoding %s failed", label, exc_info=True)
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        lower = reason.lower()
        if any(phrase in lower for phrase in UNSUPPORTED):
            raise UnsupportedFormat(
                f"{label} is of a variant that is not read ({reason}); save it as a usual JPEG or PNG."
            ) from error
        if "truncated" in lower or "not enough" in lower:
            raise truncated(label) from error
        raise corrupt(label, reason) from error


_lock = threading.Lock()
_inside = 0
_saved: Any = None
_tolerant = False


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Keep Pillow's Python warnings off the terminal while any thread decodes, and truncated files an error.

    Some libraries set Pillow's LOAD_TRUNCATED_IMAGES for the whole process, and half a picture then passes for a
    whole one. `warnings.catch_warnings` alone restores the filters in the wrong order when threads overlap; so the
    first thread to enter saves both and the last to leave restores them.
    """
    from PIL import ImageFile

    global _inside, _saved, _tolerant
    with _lock:
        if _inside == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.simplefilter("ignore")
            _tolerant, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _saved.__exit__(None, None, None)
                ImageFile.LOAD_TRUNCATED_IMAGES = _tolerant
