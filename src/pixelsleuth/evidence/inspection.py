"""All that a file says by itself: one record a file, no model, no network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import PictureError
from pixelsleuth.evidence.compression import compression_findings
from pixelsleuth.evidence.copy_move import copy_move_findings
from pixelsleuth.evidence.credentials import credentials_finding
from pixelsleuth.evidence.extent import examined_part, moved
from pixelsleuth.evidence.finding import Finding
from pixelsleuth.evidence.grid import grid_findings, grids_of
from pixelsleuth.evidence.metadata import metadata_findings
from pixelsleuth.evidence.missing_grid import missing_grid_findings
from pixelsleuth.evidence.noise import noise_findings
from pixelsleuth.evidence.recompression import recompression_findings
from pixelsleuth.evidence.stealth import hidden_in
from pixelsleuth.evidence.texts import texts_of
from pixelsleuth.evidence.thumbnail import thumbnail_findings
from pixelsleuth.evidence.trust_lists import TrustLists
from pixelsleuth.pictures.files import read_file
from pixelsleuth.pictures.formats import Header, read_header
from pixelsleuth.pictures.images import Picture, open_picture

SCHEMA = "pixelsleuth.evidence/1"
THREADS = 2
"""Examinations of one picture that run at once."""


@dataclass(frozen=True)
class Inspection:
    """What one file says. `findings` are empty where it says nothing.

    `error` is set where it is no picture, or where its pixels cannot be decoded; what its bytes say stands all the
    same. `picture` is the decoded picture, None where it was not decoded; the record leaves it out.
    """

    source: str
    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    findings: list[Finding] = field(default_factory=list)
    error: PictureError | None = None
    picture: Picture | None = field(default=None, repr=False)

    @property
    def declared(self) -> set[str]:
        """What the file declares itself to be, in the words of `vocabulary.Meaning`; hints are left out."""
        strong = (finding for finding in self.findings if finding.strength != "hints")
        return {str(finding.detail["declares"]) for finding in strong if finding.detail.get("declares")}

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON carries it."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "sha256": self.sha256,
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "evidence": [finding.to_dict() for finding in self.findings],
            "error": self.error.to_dict() if self.error is not None else None,
        }


def findings_of(data: memoryview, header: Header, trust: TrustLists | None = None) -> list[Finding]:
    """Return all that the bytes of a picture file say, strong findings first; `inspect` and `check` both call this.

    `trust`: whose signatures are recognised, the shipped lists where None. Nothing keeps `data`: it is emptied when the
    picture is decoded.
    """
    credentials = credentials_finding(data, trust)
    findings = [credentials] if credentials is not None else []
    findings += metadata_findings(texts_of(data), hidden_in(data, header))
    findings += compression_findings(data, header)
    return sorted(findings, key=lambda finding: finding.strength == "hints")


@dataclass(frozen=True)
class FileExaminer:
    """What `Detector.examiner` takes: bytes and pixels of every file, as `check` examines them.

    `trust`: whose signatures are recognised, the shipped lists where None.
    """

    trust: TrustLists | None = None

    def of_file(self, data: memoryview, header: Header) -> list[Finding]:
        """Return `findings_of` the bytes."""
        return findings_of(data, header, self.trust)

    def of_pixels(self, picture: Picture) -> list[Finding]:
        """Return `shown_by` the decoded picture."""
        return shown_by(picture)


def shown_by(picture: Picture) -> list[Finding]:
    """Return what a decoded picture shows: thumbnail, earlier saves, then `pixel_findings`."""
    findings = thumbnail_findings(picture.exif, picture.orientation, picture.pixels)
    findings += recompression_findings(picture)
    return findings + pixel_findings(picture.pixels)


def pixel_findings(pixels: NDArray[np.uint8]) -> list[Finding]:
    """Return what the pixels of an upright picture, (H, W, 3) uint8, show by themselves; about 0.4 s a megapixel.

    Bounded for large pictures: of one above MOST_EXAMINED pixels the grid is examined in the middle alone, and copies
    are searched in the picture reduced.
    """
    # NumPy lets go of the interpreter while it computes.
    with ThreadPoolExecutor(THREADS, thread_name_prefix="examining") as pool:
        parts = pool.map(lambda examine: examine(pixels), EXAMINATIONS)
        return [finding for part in parts for finding in part]


def _of_grids(pixels: NDArray[np.uint8]) -> list[Finding]:
    part, offset = examined_part(pixels)
    grids = grids_of(part)
    findings = grid_findings(part, grids) + missing_grid_findings(part, grids)
    return [moved(finding, offset) for finding in findings]


EXAMINATIONS: tuple[Callable[[NDArray[np.uint8]], list[Finding]], ...] = (
    _of_grids,
    copy_move_findings,
    noise_findings,
)
"""What examines the pixels of an upright picture, (H, W, 3) uint8; in the order in which findings are told."""


def inspect_file(path: str, trust: TrustLists | None = None, *, fast: bool = False) -> Inspection:
    """Return what a picture file says by itself; its size is as stored, None where only a decoder knows it.

    `trust`: whose signatures are recognised, the shipped lists where None.
    `fast` leaves out what only the decoded pixels show.
    """
    try:
        data = read_file(path, path)
    except PictureError as error:
        return Inspection(path, error=error)
    return inspect_bytes(data, path, trust, fast=fast)


def inspect_bytes(
    data: bytes | bytearray, name: str, trust: TrustLists | None = None, *, fast: bool = False
) -> Inspection:
    """`inspect_file` for the bytes of a file; `name` stands for it in the record and in errors."""
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        view = memoryview(data)
        header = read_header(view, name)
        findings = findings_of(view, header, trust)
    except PictureError as error:
        return Inspection(name, sha256, error=error)
    picture = unreadable = None
    if not fast:
        try:
            picture = open_picture(bytes(data), name=name)
            findings = sorted(
                [*findings, *shown_by(picture)], key=lambda finding: finding.strength == "hints"
            )
        except PictureError as error:
            unreadable = error
    size = (header.width or None, header.height or None)
    return Inspection(name, sha256, header.format, *size, findings, unreadable, picture)
