"""The demonstration set: photographs that come with scikit-image, and forgeries made of them while the user looks on.

Crude on purpose, a few lines of NumPy and Pillow each; `edits` makes training data. Every forgery carries its true mask
and a sentence that says what was done. All pictures of the set go through the same resize and JPEG compression, so that
neither container nor compression tells originals from forgeries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import MissingExtra

JPEG_QUALITY = 93

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Inside scikit-image's wheel (its other pictures would be downloaded)."""


@dataclass(frozen=True)
class DemoPicture:
    """One picture of the set: `image` is RGB, `mask` (H, W) bool is True where it was altered (None: nowhere)."""

    name: str
    image: Image.Image
    label: Label
    note: str
    mask: NDArray[np.bool_] | None = None

    def save(self, path: str | PathLike[str] | BinaryIO) -> None:
        """Write the picture as JPEG to a file, with the same settings for originals and forgeries."""
        self.image.save(path, "JPEG", quality=JPEG_QUALITY, subsampling=0)


def photographs() -> dict[str, Image.Image]:
    """Return the photographs by stem. Raises MissingExtra where scikit-image or one of its pictures is missing."""

    spec = find_spec("skimage")  # not imported: only its pictures are needed
    if spec is None or spec.origin is None:
        raise MissingExtra("scikit-image", "demo")
    folder = Path(spec.origin).parent / "data"
    pictures = {}
    for file in PHOTOGRAPHS:
        if not (folder / file).is_file():
            raise MissingExtra(f"{file} of scikit-image", "demo")
        with Image.open(folder / file) as image:
            pictures[file.partition(".")[0].partition("_")[0]] = image.convert("RGB")
    return pictures


def demo_pictures() -> Iterator[DemoPicture]:
    """Yield the originals, each followed by the forgeries made of it."""
    photos = photographs()
    for stem, photo in photos.items():
        yield DemoPicture(f"{stem}.jpg", photo, Label.REAL, "An untouched photograph.")
        for name, forge, note in FORGERIES.get(stem, ()):
            forged, mask = forge(photos)
            yield DemoPicture(f"{name}.jpg", forged, Label.TAMPERED, note, mask)


Forged = tuple[Image.Image, NDArray[np.bool_]]
Photos = dict[str, Image.Image]


def cat_in_visor(photos: Photos) -> Forged:
    """Splice: the cat's face, cut out as an ellipse and shrunk, onto the visor of the astronaut's helmet."""
    cut = ellipses(photos["chelsea"].size, [(225, 150, 150, 145)])
    return splice(photos["astronaut"], photos["chelsea"], cut, scale=0.62, centre=(385, 438), feather=3.0)


def vanished_shuttle(photos: Photos) -> Forged:
    """Removal: the space shuttle behind the astronaut, filled from the background on either side."""
    photo = photos["astronaut"]
    mask = rectangle(photo.size, (346, 0, 476, 262))
    return fill_rows(photo, mask), mask


def smoothed_whiskers(photos: Photos) -> Forged:
    """Retouching: whiskers and fur on the cat's left cheek smoothed away."""

    photo = photos["chelsea"]
    mask = ellipses(photo.size, [(105, 222, 92, 58)])
    return blend(photo, photo.filter(ImageFilter.GaussianBlur(4.5)), mask, feather=5.0), mask


def vanished_spoon(photos: Photos) -> Forged:
    """Removal: the spoon on the saucer, filled smoothly from what surrounds it."""
    photo = photos["coffee"]
    mask = ellipses(photo.size, [(365, 278, 54, 57)])
    return fill_smoothly(photo, mask), mask


def coffee_in_garage(photos: Photos) -> Forged:
    """Splice: cup and saucer onto the floor before the motorcycle."""
    cut = ellipses(photos["coffee"].size, [(278, 226, 200, 162), (289, 112, 116, 95)])
    return splice(photos["motorcycle"], photos["coffee"], cut, scale=0.46, centre=(118, 408), feather=1.5)


def second_rocket(photos: Photos) -> Forged:
    """Copy-move: the rocket a second time, beside itself."""

    photo = photos["rocket"]
    width = photo.size[0]
    shift = -62
    mask = rectangle(photo.size, (304 + shift, 120, 340 + shift, 405))
    moved = np.asarray(photo)[:, np.clip(np.arange(width) - shift, 0, width - 1)]
    return blend(photo, Image.fromarray(moved), mask, feather=4.0), mask


# Original -> the forgeries made of it: name, function, what was done.
FORGERIES: dict[str, tuple[tuple[str, Callable[[Photos], Forged], str], ...]] = {
    "astronaut": (
        ("astronaut-cat", cat_in_visor, "Splice: a cat's face was pasted onto the visor."),
        (
            "astronaut-no-shuttle",
            vanished_shuttle,
            "Removal: the shuttle in the background was painted over.",
        ),
    ),
    "chelsea": (("chelsea-smooth", smoothed_whiskers, "Retouching: the fur on the left was smoothed."),),
    "coffee": (("coffee-no-spoon", vanished_spoon, "Removal: the spoon on the saucer was painted over."),),
    "motorcycle": (
        ("motorcycle-coffee", coffee_in_garage, "Splice: a cup of coffee was pasted onto the floor."),
    ),
    "rocket": (("rocket-twice", second_rocket, "Copy-move: the rocket was copied beside itself."),),
}


def ellipses(size: tuple[int, int], shapes: list[tuple[float, float, float, float]]) -> NDArray[np.bool_]:
    """Return a mask of `size` (width, height): the union of ellipses (centre x, centre y, radius x, radius y)."""

    y, x = np.mgrid[: size[1], : size[0]]
    mask = np.zeros((size[1], size[0]), dtype=bool)
    for cx, cy, rx, ry in shapes:
        mask |= ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    return mask


def rectangle(size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Return a mask of `size` (width, height) that is True inside `box` (x0, y0, x1, y1), half open."""

    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def blend(under: Image.Image, over: Image.Image, mask: NDArray[np.bool_], *, feather: float) -> Image.Image:
    """Lay `over` on `under` inside `mask`, its border softened inwards by a Gaussian of `feather` pixels."""

    alpha = Image.fromarray(mask).convert("L")
    if feather:
        # Twice the blurred mask less one: the soft border lies inside, and nothing changes outside the mask.
        soft = np.asarray(alpha.filter(ImageFilter.GaussianBlur(feather)), dtype=np.float32)
        alpha = Image.fromarray((np.clip(2 * soft - 255, 0, 255) * mask).astype(np.uint8))
    return Image.composite(over, under, alpha)


def splice(
    target: Image.Image,
    donor: Image.Image,
    cut: NDArray[np.bool_],
    *,
    scale: float,
    centre: tuple[int, int],
    feather: float,
) -> Forged:
    """Cut `cut` out of `donor`, shrink it by `scale` and paste it into `target` with its middle at `centre`."""

    ys, xs = np.nonzero(cut)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    size = (round((box[2] - box[0]) * scale), round((box[3] - box[1]) * scale))
    corner = (centre[0] - size[0] // 2, centre[1] - size[1] // 2)
    over = target.copy()
    over.paste(donor.crop(box).resize(size, Image.Resampling.BICUBIC), corner)
    shape = Image.fromarray(cut).convert("L").crop(box).resize(size, Image.Resampling.BILINEAR)
    canvas = Image.new("L", target.size)
    canvas.paste(shape, corner)
    mask = np.asarray(canvas) >= 128
    return blend(target, over, mask, feather=feather), mask


def fill_rows(photo: Image.Image, mask: NDArray[np.bool_], *, margin: int = 6) -> Image.Image:
    """Fill each row of a rectangular `mask` from the colour left of it to the colour right of it."""

    pixels = np.asarray(photo).astype(np.float32)
    ys, xs = np.nonzero(mask)
    y0, y1, x0, x1 = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    left = pixels[y0:y1, x0 - margin : x0].mean(axis=1, keepdims=True)
    right = pixels[y0:y1, x1 : x1 + margin].mean(axis=1, keepdims=True)
    share = np.linspace(0, 1, x1 - x0, dtype=np.float32)[None, :, None]
    pixels[y0:y1, x0:x1] = (1 - share) * left + share * right
    return Image.fromarray(pixels.round().astype(np.uint8))


def fill_smoothly(photo: Image.Image, mask: NDArray[np.bool_], *, rounds: int = 1200) -> Image.Image:
    """Fill `mask` with the harmonic function that its border determines (Jacobi iteration on the Laplace equation)."""

    pixels = np.asarray(photo).astype(np.float32)
    ys, xs = np.nonzero(mask)
    window = (slice(ys.min() - 1, ys.max() + 2), slice(xs.min() - 1, xs.max() + 2))
    part, inside = pixels[window].copy(), mask[window]
    part[inside] = part[~inside].mean(axis=0)
    for _ in range(rounds):
        neighbours = part[:-2, 1:-1] + part[2:, 1:-1] + part[1:-1, :-2] + part[1:-1, 2:]
        part[1:-1, 1:-1] = np.where(inside[1:-1, 1:-1, None], neighbours / 4, part[1:-1, 1:-1])
    pixels[window] = part
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
