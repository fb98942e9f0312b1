"""A detector's verdict on one picture, and its JSON record (`docs/reference/verdict.schema.json`).

Coordinates are pixels of the upright picture (EXIF orientation applied), origin top left, boxes half open.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import EnumType, StrEnum
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.examining import attach
from pixelsleuth.errors import NotAPicture, PictureError, PixelSleuthError

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pixelsleuth.core.examining import Illustration
    from pixelsleuth.core.region import Region
    from pixelsleuth.pictures.images import Picture

SCHEMA = "pixelsleuth.verdict/1"


class NamesOnly(EnumType):
    """The type of an enumeration whose `dir` and `help` list its members, not the methods of `str`."""

    def __dir__(cls) -> list[str]:
        return sorted(("__class__", "__doc__", "__members__", "__module__", *cls.__members__))


class Label(StrEnum, metaclass=NamesOnly):
    """The three answers.

    >>> print(*Label)
    real full_synthetic tampered
    """

    REAL = "real"
    FULL_SYNTHETIC = "full_synthetic"
    TAMPERED = "tampered"


LABELS = tuple(Label)
"""Class order of every head in this project: index 0 real, 1 full synthetic, 2 tampered."""


@dataclass
class Verdict:
    """What a detector says of one picture; or, with `error` set, why it could not be judged.

    `label` is the most probable of the three, also where the verdict is `inconclusive`. `probabilities` sum to 1.
    `mask` is (height, width) bool, True where tampered; None where the detector drew none. `heatmap` is the tampering
    probability, (h, w) float32 in 0..1, at any resolution. `heatmap` and `picture` live in memory only; JSON carries
    the mask as run lengths or as a file name. `panel` holds each member's verdict (`models.panel.rule`), empty for a
    single detector. `decision` is `core.decision.to_dict` of the model's measured decision; None where its errors were
    never measured. Entries of `evidence` with a `strength` are what the file says by itself, the others the model's
    claims; `examined` is True where the file was looked at. `illustrations` are the pictures of entries of `evidence`,
    by their index, for reports; like the picture they are in memory only.
    """

    source: str
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    label: Label | None = None
    confidence: float | None = None
    probabilities: dict[Label, float] | None = None
    inconclusive: bool = False
    mask: NDArray[np.bool_] | None = None
    regions: list[Region] = field(default_factory=list)
    explanation: str | None = None
    evidence: list[dict[str, Any]] = field(default_factory=list)
    model: dict[str, str] = field(default_factory=dict)
    elapsed_ms: float = 0.0
    warnings: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    panel: list[dict[str, Any]] = field(default_factory=list)
    decision: dict[str, Any] | None = None
    examined: bool = False
    heatmap: NDArray[np.float32] | None = field(default=None, repr=False)
    picture: Picture | None = field(default=None, repr=False)
    illustrations: Mapping[int, Sequence[Illustration]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        picture: Picture,
        probabilities: Mapping[Label, float],
        *,
        model: Mapping[str, str],
        inconclusive: bool = False,
        mask: NDArray[np.bool_] | None = None,
        heatmap: NDArray[np.float32] | None = None,
        regions: Sequence[Region] = (),
        explanation: str | None = None,
        evidence: Sequence[dict[str, Any]] = (),
        warnings: Sequence[str] = (),
        decision: dict[str, Any] | None = None,
    ) -> Verdict:
        """Return the verdict on `picture`: the most probable label, its probability as confidence.

        Raises ValueError where a probability is missing or outside 0..1, where their sum differs from 1 by more than
        1e-3, or where the mask is not a bool array of the picture's (height, width).
        """
        values = {label: float(probabilities[label]) for label in Label if label in probabilities}
        if len(values) != len(Label) or not all(0.0 <= p <= 1.0 for p in values.values()):
            raise ValueError(f"three probabilities in 0..1 expected, got {dict(probabilities)}")
        if abs(math.fsum(values.values()) - 1.0) > 1e-3:
            raise ValueError(f"probabilities must sum to 1, got {values}")
        if mask is not None and (mask.dtype != bool or mask.shape != (picture.height, picture.width)):
            raise ValueError(
                f"mask must be bool {(picture.height, picture.width)}, got {mask.dtype} {mask.shape}"
            )
        label = max(Label, key=lambda name: values[name])
        return cls(
            source=picture.source,
            sha256=picture.sha256,
            width=picture.width,
            height=picture.height,
            label=label,
            confidence=values[label],
            probabilities=values,
            inconclusive=inconclusive,
            mask=mask,
            regions=list(regions),
            explanation=explanation,
            evidence=list(evidence),
            model=dict(model),
            warnings=[*picture.warnings, *warnings],
            metadata=dict(picture.metadata),
            decision=decision,
            heatmap=heatmap,
            picture=picture,
        )

    @classmethod
    def failed(cls, source: str, error: PixelSleuthError, model: Mapping[str, str]) -> Verdict:
        """Return the record of a picture that could not be judged: no label, `error` says why.

        What the bytes of an unreadable picture say by themselves stands in its `evidence`, where they were examined.
        """
        verdict = cls(source=source, model=dict(model), error=error.to_dict())
        evidence = error.evidence if isinstance(error, PictureError) else None
        if evidence is not None:
            attach(verdict, evidence)
        return verdict

    @property
    def ok(self) -> bool:
        """True where the picture was judged."""
        return self.error is None

    @property
    def located(self) -> bool:
        """True where the heat map is a finding; else it only shows where to look.

        It is a finding in a conclusive verdict of tampering, and with a mask of a model whose errors were never
        measured.
        """
        tampered = self.label is Label.TAMPERED and not self.inconclusive
        return tampered or (self.decision is None and self.mask is not None)

    def forget_picture(self) -> None:
        """Drop pixels and illustrations to save memory; `overlay()` then reads the file again."""
        self.picture, self.illustrations = None, {}

    def overlay(self, *, max_side: int | None = None) -> Image.Image:
        """Return the picture (RGB) under the heat map and the boxes of its regions.

        A map that is no finding is pale blue. `max_side` bounds the longer side in pixels. Raises PictureError where
        the picture was forgotten and its file cannot be read again or has changed since.
        """
        from pixelsleuth.core.overlay import draw_overlay

        heatmap = self.heatmap
        if heatmap is None and self.mask is not None:
            heatmap = self.mask.astype("float32")
        return draw_overlay(self._pixels(), heatmap, self.regions, max_side, finding=self.located)

    def _pixels(self) -> NDArray[np.uint8]:
        if self.picture is not None:
            return self.picture.pixels
        if self.error is not None:
            raise NotAPicture(f"{self.source}: nothing to draw, the picture could not be read.")
        from pixelsleuth.pictures.images import open_picture

        megapixels = (self.width or 0) * (self.height or 0) / 1e6
        picture = open_picture(self.source, max_megapixels=max(100.0, megapixels))
        if self.sha256 is not None and picture.sha256 != self.sha256:
            raise PictureError(f"{self.source} has changed since it was judged; check it again.")
        return picture.pixels

    def to_dict(self, *, mask_file: str | None = None) -> dict[str, Any]:
        """Return a JSON-ready record of schema `pixelsleuth.verdict/1`.

        With `mask_file` the mask is named as a file (PNG, 0 and 255) in place of run lengths.
        """
        probabilities = self.probabilities
        panel = {"panel": list(self.panel)} if self.panel else {}
        return {
            "schema": SCHEMA,
            "source": valid_unicode(self.source),
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "label": None if self.label is None else str(self.label),
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "probabilities": None
            if probabilities is None
            else {str(k): round(v, 6) for k, v in probabilities.items()},
            "inconclusive": self.inconclusive,
            "mask": self._mask_dict(mask_file),
            "regions": [region.to_dict() for region in self.regions],
            "explanation": self.explanation,
            "evidence": self.evidence,
            "model": dict(self.model),
            "elapsed_ms": round(self.elapsed_ms, 1),
            "warnings": list(self.warnings),
            "error": self.error,
            "metadata": dict(self.metadata),
            "decision": self.decision,
            "examined": self.examined,
            **panel,
        }

    def _mask_dict(self, mask_file: str | None) -> dict[str, Any] | None:
        if self.mask is None:
            return None
        area = int(self.mask.sum())
        if mask_file is not None:
            return {"file": valid_unicode(mask_file), "area": area}
        from pixelsleuth.core.rle import encode

        return {"rle": encode(self.mask), "area": area}

    def to_json(self, *, mask_file: str | None = None, indent: int | None = None) -> str:
        """Return `to_dict` as JSON text (one line unless `indent`; never NaN or Infinity)."""
        return json.dumps(
            self.to_dict(mask_file=mask_file), ensure_ascii=False, allow_nan=False, indent=indent
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, folder: str | PathLike[str] | None = None) -> Verdict:
        """Read a record of `to_dict` or `check`; `folder` is where its mask file lies, if it was moved.

        Heat map and picture are not part of a record. Raises ValueError for another schema, PictureError for a mask
        file that is missing, damaged or of another size than the picture.
        """
        if record.get("schema") != SCHEMA:
            raise ValueError(f"a record of schema {SCHEMA} expected, got {record.get('schema')!r}")
        from pixelsleuth.core.region import Region
        from pixelsleuth.core.rle import read_mask

        probabilities = record["probabilities"]
        label = record["label"]
        return cls(
            source=record["source"],
            sha256=record["sha256"],
            width=record["width"],
            height=record["height"],
            label=None if label is None else Label(label),
            confidence=record["confidence"],
            probabilities=None if probabilities is None else {Label(k): v for k, v in probabilities.items()},
            inconclusive=record["inconclusive"],
            mask=read_mask(record, folder),
            regions=[Region(tuple(r["box"]), r["area"], r["score"]) for r in record["regions"]],
            explanation=record["explanation"],
            evidence=list(record["evidence"]),
            model=dict(record["model"]),
            elapsed_ms=record["elapsed_ms"],
            warnings=list(record["warnings"]),
            error=record["error"],
            metadata=dict(record.get("metadata") or {}),
            panel=list(record.get("panel") or []),
            decision=record.get("decision"),
            examined=record.get("examined") is True,
        )


def valid_unicode(text: str) -> str:
    r"""Return `text` as valid Unicode: names not in UTF-8 carry lone surrogates, which JSON readers refuse.

    >>> valid_unicode("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
