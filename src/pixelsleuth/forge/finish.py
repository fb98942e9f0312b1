"""The last step of every picture, one for all classes: the same container, and a draw of compression that is blind to
the label."""

from __future__ import annotations

import numpy as np

from pixelsleuth.data.equalise import Draw, Equalised, draw_for, equalised
from pixelsleuth.forge.sources import Context, photograph
from pixelsleuth.forge.stages import Row
from pixelsleuth.pictures.images import open_picture


def pixels_of(row: Row, context: Context) -> np.ndarray:
    """The pixels of a picture of the run: a file that it made, or the photograph at the run's size."""
    if "file" in row:
        return open_picture(context.folder / row["file"], name=row["file"]).pixels
    return photograph(row, context)


def finished(row: Row, context: Context) -> Equalised:
    """The picture as the data set holds it: pixels and file."""
    return equalised(pixels_of(row, context), encoding(row, context), name=row["id"])


def encoding(row: Row, context: Context) -> Draw:
    """The compression of a picture: depends on a scrambled id and the seed, and on nothing else."""
    quality = context.config.output.quality
    if quality is None:
        return Draw(quality=None)
    return draw_for(f"finish/{row['id']}", context.config.seed, low=quality[0], high=quality[1])
