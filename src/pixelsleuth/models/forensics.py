"""The door for users of transformers: the task "image-forensics", and SIDA as a transformers model.

    from transformers import pipeline
    import pixelsleuth.models.forensics   # registers the task, AutoConfig and AutoModel

    judge = pipeline("image-forensics", model="saberzl/SIDA-7B")
    judge("photo.jpg")   # {"label": ..., "score": ..., "scores": [...], "mask": ..., "boxes": [...], ...}

Any other detector of this project stands behind the same pipeline: `DetectorForForensics.from_pretrained("compact")`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModel, Pipeline, PreTrainedConfig, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY

from pixelsleuth.core.names import suggestion
from pixelsleuth.errors import PictureNotFound, UsageError, error_of
from pixelsleuth.models import registry
from pixelsleuth.models.sida.hub_model import ForensicsOutput, SidaForensicsConfig, SidaForForensics

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector
    from pixelsleuth.core.verdict import Verdict

__all__ = [
    "DetectorForForensics",
    "ForensicsOutput",
    "ForensicsPipeline",
    "SidaForForensics",
    "SidaForensicsConfig",
]
TASK = "image-forensics"
SWITCHES = ("explain", "on_error")


class DetectorForForensics(PreTrainedModel):
    """Any detector of this project in the place of a transformers model; it is loaded, not saved."""

    config_class = PreTrainedConfig
    main_input_name = "pictures"

    def __init__(self, detector: Detector) -> None:
        super().__init__(PreTrainedConfig())
        self.detector = detector

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], device: str = "auto", **options: Any
    ) -> DetectorForForensics:
        """The detector that `pixelsleuth.load(name, device, **options)` returns. Raises as that does."""
        return cls(registry.load(name, device, **options))

    @property
    def device(self) -> torch.device:
        """The CPU: where the detector itself runs was said when it was loaded."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """float32, the type of a verdict's scores."""
        return torch.float32

    def to(self, *_: Any, **__: Any) -> DetectorForForensics:
        """The detector stays where it was loaded."""
        return self

    def save_pretrained(self, *_: Any, **__: Any) -> None:
        """Raises UsageError."""
        raise UsageError(
            f"{self.detector.name} is saved by its own commands: `pixelsleuth export`, `models convert`."
        )


class ForensicsPipeline(Pipeline):
    """`pipeline("image-forensics", model=...)`: pictures in, a dictionary a picture out, as `postprocess` says.

    A picture is a path, bytes, an open file, a PIL image or an array; several are a list, a generator or a data set.
    Settings, of the pipeline or of a call: `explain` (False; True also writes why, where the model can), `on_error`
    ("raise"; "record" puts the failure in place of the answer), `batch_size`.
    """

    _load_processor = _load_image_processor = _load_feature_extractor = _load_tokenizer = False

    def _sanitize_parameters(self, **settings: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        for name in settings:
            if name not in SWITCHES:
                raise UsageError(f"The pipeline {TASK} has no setting {name!r}{suggestion(name, SWITCHES)}")
        if settings.get("on_error", "raise") not in ("raise", "record"):
            raise UsageError(f"on_error must be 'raise' or 'record', not {settings['on_error']!r}.")
        return {}, settings, {}

    def preprocess(self, source: Any) -> dict[str, Any]:
        """The picture as it came; the detector opens it. Raises PictureNotFound for an address."""
        if isinstance(source, Mapping) and set(source) >= {
            "bytes",
            "path",
        }:  # an undecoded cell of `datasets`
            source = source["bytes"] or source["path"]
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            raise PictureNotFound(
                f"{source} is an address: fetch the picture first; this pipeline stays offline."
            )
        return {"source": source}

    def _forward(self, inputs: dict[str, Any], *, explain: bool = False, on_error: str = "raise") -> Verdict:
        detector: Detector = self.model.detector
        return detector.check(inputs["source"], explain=explain, on_error=on_error)  # type: ignore[call-overload]

    def postprocess(self, verdict: Verdict) -> dict[str, Any]:
        """The answer on a picture, in the forms of transformers' pipelines for images:

        `label` and `score`; `scores`, all labels from the likeliest on (image classification); `mask`, a PIL image "L"
        with 255 where tampered, or None (image segmentation); `boxes`, each with `score`, `label` and `box` as
        xmin, ymin, xmax, ymax (object detection); and ours: `inconclusive`, `explanation`, `warnings`. A picture that
        could not be judged has `error` alone, with `code` and `message`.
        """
        if verdict.error is not None:
            return {"error": verdict.to_dict()["error"]}
        ranked = sorted((verdict.probabilities or {}).items(), key=lambda item: -item[1])
        return {
            "label": str(verdict.label),
            "score": verdict.confidence,
            "scores": [{"label": str(label), "score": score} for label, score in ranked],
            "mask": _drawn(verdict),
            "boxes": [
                {
                    "score": region.score,
                    "label": "tampered",
                    "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), region.box, strict=True)),
                }
                for region in verdict.regions
            ],
            "inconclusive": verdict.inconclusive,
            "explanation": verdict.explanation,
            "warnings": list(verdict.warnings),
        }

    def get_iterator(
        self,
        inputs: Iterable[Any],
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[dict[str, Any]]:
        """Answers in order; `batch_size` pictures, whose sizes may differ, are judged at a time."""
        on_error = forward_params.get("on_error", "raise")
        sources = (self.preprocess(entry, **preprocess_params)["source"] for entry in inputs)
        detector: Detector = self.model.detector
        explain = forward_params.get("explain", False)
        for verdict in detector.check_many(sources, explain=explain, batch_size=batch_size or 1):
            if verdict.error is not None and on_error == "raise":
                raise error_of(verdict.error)
            yield self.postprocess(verdict, **postprocess_params)


def _drawn(verdict: Verdict) -> Any:
    """The mask as a PIL image of the picture's size, 255 where tampered; None without one."""
    if verdict.mask is None:
        return None
    from PIL import Image

    return Image.fromarray(verdict.mask.astype("uint8") * 255)


AutoConfig.register(SidaForensicsConfig.model_type, SidaForensicsConfig, exist_ok=True)
AutoModel.register(SidaForensicsConfig, SidaForForensics, exist_ok=True)
if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(TASK, ForensicsPipeline, pt_model=SidaForForensics, type="image")
