"""Masks of records: as COCO run lengths inside the record, or as a PNG beside it.

COCO run lengths go column by column from the top left, runs of 0 and 1 in turn, beginning with 0. `counts` is COCO's
compressed string: each run, less the run two before it from the fourth on, as little-endian groups of five bits with a
continuation bit and sign extension, plus 48 to make it printable.
Source: COCO API, `maskApi.c`.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import CorruptPicture, PictureNotFound

_GROUPS = 7  # 7 groups of 5 bits hold every difference of two runs below 2**33
_PIECE = 1 << 16


def encode(mask: NDArray[Any]) -> dict[str, Any]:
    """Return `{"size": [height, width], "counts": str}` of a (height, width) mask (anything nonzero is 1).

    >>> import numpy as np
    >>> encode(np.array([[0, 1], [1, 1]], dtype=bool))
    {'size': [2, 2], 'counts': '13'}
    """
    if mask.ndim != 2:
        raise ValueError(f"a mask has two dimensions, got shape {mask.shape}")
    height, width = mask.shape
    return {"size": [height, width], "counts": _to_string(_runs(mask != 0))}


def decode(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the (height, width) bool mask of COCO run lengths, compressed or a plain list of runs.

    Raises ValueError where the runs do not fill the size.
    """
    height, width, runs = _sized(rle)
    values = np.zeros(len(runs), dtype=bool)
    values[1::2] = True
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def bounding_box(rle: Mapping[str, Any]) -> tuple[tuple[int, int, int, int], int] | None:
    """The box (x0, y0, x1, y1) around the marked pixels and their number; None where none is marked.

    The mask itself is not made: memory grows with the runs and not with the size. Raises ValueError where the runs do
    not fill the size.

    >>> bounding_box({"size": [2, 3], "counts": [2, 1, 3]})
    ((1, 0, 2, 1), 1)
    """
    height, _, runs = _sized(rle)
    ends = np.cumsum(runs)
    marked = runs[1::2] > 0
    first, last = (ends - runs)[1::2][marked], ends[1::2][marked] - 1
    if not first.size:
        return None
    # A run that goes on in the next column touches the last row of one and the first row of the other.
    through = bool((first // height < last // height).any())
    top, low = (0, height) if through else (int((first % height).min()), int((last % height).max()) + 1)
    box = (int(first[0] // height), top, int(last[-1] // height) + 1, low)
    return box, int(runs[1::2].sum())


def read_mask(
    record: Mapping[str, Any], folder: str | PathLike[str] | None = None
) -> NDArray[np.bool_] | None:
    """The (height, width) mask of a verdict's record, None where it has none; a file is looked for in `folder`.

    Raises PictureError for a file that is missing, damaged, or of another size than the picture.
    """
    mask = record["mask"]
    if mask is None:
        return None
    if "rle" in mask:
        return decode(mask["rle"])
    path = _mask_path(str(mask["file"]), folder)
    pixels = _read_png(path)
    if pixels.shape != (record["height"], record["width"]):
        raise CorruptPicture(
            f"The mask {path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, its picture "
            f"{record['width']} x {record['height']}; it belongs to another one."
        )
    return pixels


def _sized(rle: Mapping[str, Any]) -> tuple[int, int, NDArray[np.int64]]:
    """Height, width and runs. Raises ValueError where the runs do not fill the size."""
    height, width = (int(side) for side in rle["size"])
    counts = rle["counts"]
    runs = _from_string(counts) if isinstance(counts, str | bytes) else np.asarray(counts, dtype=np.int64)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(f"the runs do not fill a mask of {height} x {width}")
    return height, width, runs


def _mask_path(file: str, folder: str | PathLike[str] | None) -> Path:
    """The mask's place: as the record says, or in `folder`, by its name there or by the path below it.

    A name in a record never leads out of `folder`.
    """
    places = [Path(file)]
    if folder is not None:
        root = Path(folder).resolve()
        below = (Path(folder) / file, Path(folder) / Path(file.replace("\\", "/")).name)
        places = [path for path in below if path.resolve().is_relative_to(root)]
    for path in places:
        if path.is_file():
            return path
    if folder is None:
        raise PictureNotFound(f"There is no mask {file}; name the folder of the masks with folder=.")
    raise PictureNotFound(f"There is no mask {file} in {folder}; check the folder.")


def _read_png(path: Path) -> NDArray[np.bool_]:
    """(H, W) bool of a mask file: 128 and more is marked."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.asarray(image.convert("L")) >= 128
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorruptPicture(
            f"The mask {path} cannot be read ({error}); write it again with --save-masks."
        ) from error


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the runs of the column-major mask; the first counts zeros and may be 0."""
    flat = np.ascontiguousarray(mask.T).reshape(-1)
    if flat.size == 0:
        return np.zeros(1, dtype=np.int64)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges)
    return np.concatenate(([0], runs)) if flat[0] else runs


def _to_string(runs: NDArray[np.int64]) -> str:
    values = runs.astype(np.int64)
    values[3:] -= runs[1:-2]  # small differences make short strings
    # In pieces: the table of groups is fifty times as large as the string, and masks may be noise.
    pieces = (values[at : at + _PIECE] for at in range(0, len(values), _PIECE))
    return b"".join(map(_groups, pieces)).decode("ascii")


def _groups(values: NDArray[np.int64]) -> bytes:
    shifts = 5 * np.arange(_GROUPS)
    groups = (values[:, None] >> shifts) & 0x1F
    above = values[:, None] >> (shifts + 5)
    # A group ends the number where the bits above it are all equal to its own sign bit (0x10).
    last = np.where(groups & 0x10, above == -1, above == 0)
    length = last.argmax(axis=1)
    position = np.arange(_GROUPS)
    codes = groups + 0x20 * (position < length[:, None]) + 48
    return codes[position <= length[:, None]].astype(np.uint8).tobytes()


def _from_string(counts: str | bytes) -> NDArray[np.int64]:
    raw = counts.encode("ascii") if isinstance(counts, str) else counts
    codes = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0 or (codes < 0).any() or (codes > 63).any() or codes[-1] & 0x20:
        raise ValueError("not a COCO run-length string")
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if int((ends - starts).max()) >= 12:
        raise ValueError("not a COCO run-length string")
    shift = 5 * (np.arange(codes.size) - np.repeat(starts, ends - starts + 1))
    values = np.add.reduceat((codes & 0x1F) << shift, starts)
    negative = (codes[ends] & 0x10) != 0
    values[negative] -= np.int64(1) << (5 * (ends - starts + 1)[negative])
    if values.size > 3:  # undo the differences: odd and even runs are two sums of their own
        values[1::2] = np.cumsum(values[1::2])
        values[2::2] = np.cumsum(values[2::2])
    return values
