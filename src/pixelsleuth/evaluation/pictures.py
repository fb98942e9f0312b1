"""The pictures of an evaluation: samples of a data set, decoded with their masks and equalised as a protocol says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.data.listing import Listing, list_data
from pixelsleuth.data.sample import Sample
from pixelsleuth.errors import BadMask, NoPictures, PictureError

if TYPE_CHECKING:
    from pixelsleuth.evaluation.protocols import Protocol
    from pixelsleuth.pictures.images import Picture


@dataclass(frozen=True)
class Pictures:
    """The samples that are judged, each with its index in the data set. Iterable more than once."""

    listing: Listing

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        return iter(self.listing)

    def __len__(self) -> int:
        return len(self.listing)

    @property
    def digest(self) -> str:
        """SHA-256 over names and labels: equal where two runs judge the same pictures."""
        lines = (f"{index}\t{self.name(sample)}\t{sample.label}" for index, sample in self.listing.light)
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def name(self, sample: Sample) -> str:
        """The sample's path relative to the data, so that results do not carry a machine's folders."""
        place = Path(self.listing.spec)
        root = place.parent if place.is_file() else place
        try:
            return sample.path.relative_to(root).as_posix()
        except ValueError:
            return sample.path.as_posix()


class Samples:
    """Finds samples by index. A set in shards is streamed: once where indexes rise, anew where one lies behind."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._light = {} if pictures.listing.sharded else dict(pictures.listing.light)
        self._stream: Iterator[tuple[int, Sample]] = iter(())
        self._next: int | None = None

    def take(self, indexes: Sequence[int]) -> list[Sample]:
        """The samples of these indexes, which rise. Raises KeyError where one does not exist."""
        if not self._pictures.listing.sharded:
            return [self._light[index] for index in indexes]
        if self._next is None or indexes[0] < self._next:
            self._stream = iter(self._pictures)
        samples: list[Sample] = []
        for index, sample in self._stream:
            self._next = index + 1
            if index == indexes[len(samples)]:
                samples.append(sample)
            if len(samples) == len(indexes):
                return samples
        raise KeyError(indexes[len(samples)])


def choose(
    spec: str,
    protocol: Protocol,
    *,
    split: str | None = None,
    reader: str | None = None,
    settings: Mapping[str, str] | None = None,
    allow_outside: bool = False,
    limit: int | None = None,
) -> Pictures:
    """The samples that `protocol` judges; at most `limit`, evenly over the classes, chosen by a hash of the name.

    Raises NoPictures, which says what was left out.
    """
    listing = list_data(spec, split=split, reader=reader, settings=settings, allow_outside=allow_outside)
    if not listing and listing.left_out:
        raise NoPictures(f"{spec} holds no picture that can be used. {listing.left_out.sentence()}")
    judged = listing.only(index for index, sample in listing.light if str(sample.label) in protocol.labels)
    if not judged:
        part = f" in the split {split!r}" if split else ""
        why = f" {listing.left_out.sentence()}" if listing.left_out else ""
        raise NoPictures(f"{spec} holds no picture{part} that the protocol {protocol.name} judges.{why}")
    chosen = Pictures(judged)
    return chosen if limit is None or limit >= len(judged) else Pictures(judged.only(_even(chosen, limit)))


def _even(pictures: Pictures, limit: int) -> list[int]:
    """Indexes of `limit` samples, the classes taking turns."""

    def draw(item: tuple[int, Sample]) -> str:
        return hashlib.sha256(pictures.name(item[1]).encode("utf-8", "surrogateescape")).hexdigest()

    light = pictures.listing.light
    queues = [sorted((item for item in light if item[1].label == label), key=draw) for label in LABELS]
    taken = [
        queue[place][0] for place in range(max(map(len, queues))) for queue in queues if place < len(queue)
    ]
    return taken[:limit]


@dataclass(frozen=True)
class Loaded:
    """A decoded picture and its true mask.

    `mask` is (H, W) bool, all False where nothing was edited in place, None where a tampered picture has none.
    `resized`: the stored mask had another size.
    """

    picture: Picture
    mask: NDArray[np.bool_] | None
    resized: bool = False


def load(sample: Sample, protocol: Protocol) -> Loaded:
    """Decode one sample and equalise it where the protocol says so. Raises PictureError."""
    picture, mask, resized = _decoded(sample, protocol.mask_level)
    if str(sample.label) != "tampered":
        mask = np.zeros(picture.pixels.shape[:2], bool)  # nothing was edited in place
    if protocol.equalise:
        from pixelsleuth.data.equalise import equalise

        picture = replace(picture, pixels=np.ascontiguousarray(equalise(picture.pixels)))
    return Loaded(picture, mask, resized)


def _decoded(sample: Sample, level: int) -> tuple[Picture, NDArray[np.bool_] | None, bool]:
    """The picture, its mask and whether the mask was resized; `level` cuts the mask."""
    try:
        picture, reading = sample.load(mask_level=level)
    except PictureError as error:
        sample.open()  # raises where the picture itself cannot be read
        raise BadMask(f"The mask of {sample.path} cannot be read ({error.code}): {error}") from error
    return picture, None if reading is None else reading.pixels, bool(reading and reading.resized)
