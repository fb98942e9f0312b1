"""A baseline through ONNX Runtime: numpy prepares the picture, the graph runs, `models.verdicts` makes the verdict.

`load_folder` takes what `pixelsleuth models convert` wrote; `load_published` a published safetensors file, for which a
graph without weights ships in the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth._version import __version__
from pixelsleuth.compact.sessions import session_options
from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.finite import ensure_finite_graph
from pixelsleuth.core.io import sha256_of
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.models import store
from pixelsleuth.models.facts import Facts
from pixelsleuth.models.light.form import GRAPH, SETTINGS, STRETCH, Form, read, read_tensors, shipped
from pixelsleuth.models.preparation import prepared, window
from pixelsleuth.models.verdicts import Answer, verdict_of
from pixelsleuth.pictures.images import Picture

CONVERTED = "onnx"
"""The folder of the converted form, inside a baseline's folder of the store."""
OUTSIDE = -20.0
"""The logit of pixels outside the centre crop, which the network does not see."""
OUTPUTS = ("logit", "mask", "classes")


class LightDetector(Detector):
    """Verdicts of a network in ONNX form. `session` runs the graph; its outputs are some of `OUTPUTS`, for one picture:
    (1,), (1, h, w) and (1, 3)."""

    batches = False

    def __init__(self, form: Form, session: Any, digest: str) -> None:
        self.form, self.session, self.name = form, session, form.baseline
        kind = "onnx" if form.precision == "fp32" else f"onnx.{form.precision}"
        self.version = f"{__version__}+{digest[:8]}.{kind}"
        self.made_for = form.made_for
        self.outputs = [node.name for node in session.get_outputs()]
        inputs = [node.name for node in session.get_inputs()]
        if inputs != ["picture"] or not self.outputs or not set(self.outputs) <= set(OUTPUTS):
            raise UsageError(
                f"The graph of {form.facts.title} is none that this version knows: convert it again."
            )
        can = {Capability.DETECT} | ({Capability.LOCALIZE} if "mask" in self.outputs else set())
        self.capabilities = frozenset(can)

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """One verdict a picture, without batches: a processor gains nothing from them."""
        del explain
        return [
            verdict_of(picture, self.answer(picture.pixels), made_for=self.made_for, model=self.model)
            for picture in pictures
        ]

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """The network's answer for (H, W, 3) uint8, its mask at the picture's size."""
        values = self.session.run(None, {"picture": prepared(pixels, self.form.steps)[None]})
        outputs = dict(zip(self.outputs, values, strict=True))
        mask = (
            placed(outputs["mask"][0], pixels.shape[0], pixels.shape[1], self.form.frame)
            if "mask" in outputs
            else None
        )
        return Answer(
            float(outputs["logit"][0]) if "logit" in outputs else None,
            mask,
            outputs["classes"][0].astype(np.float64) if "classes" in outputs else None,
        )


def placed(mask: NDArray[np.float32], height: int, width: int, frame: int) -> NDArray[np.float32]:
    """Mask logits (h, w) -> (height, width) of the picture: stretched, or put where the centre crop of side `frame`
    lay."""
    if frame == STRETCH:
        return bilinear(mask, height, width)
    whole = np.full((height, width), OUTSIDE, np.float32)
    (top, there), (left, across) = window(height, frame), window(width, frame)
    rows, columns = min(frame, height), min(frame, width)
    whole[top : top + rows, left : left + columns] = mask[there : there + rows, across : across + columns]
    return whole


def bilinear(mask: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(h, w) -> (height, width): half-pixel centres, edges repeated, no smoothing before shrinking."""
    if mask.shape == (height, width):
        return mask
    above, below, down = _neighbours(mask.shape[0], height)
    left, right, across = _neighbours(mask.shape[1], width)
    wide = mask[:, left] * (1 - across) + mask[:, right] * across
    return np.asarray(wide[above] * (1 - down)[:, None] + wide[below] * down[:, None], np.float32)


def _neighbours(
    length: int, new_length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each new pixel: its two neighbours, and the weight of the second."""
    place = np.maximum(
        (np.arange(new_length, dtype=np.float32) + 0.5) * np.float32(length / new_length) - 0.5, 0
    )
    first = np.minimum(place.astype(np.intp), length - 1)
    return first, np.minimum(first + 1, length - 1), (place - first).astype(np.float32)


def light(
    facts: Facts,
    device: str,
    options: Mapping[str, str],
    *,
    own_weights: bool,
    torch: bool,
    weights: Callable[[], str],
) -> LightDetector | None:
    """A baseline in the form that runs without torch, or None where torch has to run it.

    The converted form is taken where the store has it and no weights are named (`own_weights`). Else, where torch is
    not to be used, the published file (`weights` gives its place) is taken with the graph that ships.

    Raises UsageError.
    """
    converted = store.folder(facts.name) / CONVERTED
    usable = not own_weights and device != "cuda" and (converted / SETTINGS).is_file()
    variant = facts.variant(options)
    if usable and (not options or read(converted / SETTINGS).options == variant):
        return load_folder(str(converted), device)
    if torch or not facts.light or shipped(facts.name, variant) is None:
        return None
    return load_published(facts.name, device, weights=weights(), options=variant)


def load_folder(folder: str, device: str = "auto") -> LightDetector:
    """The detector of a folder that `pixelsleuth models convert` wrote.

    Raises:
        UsageError: the folder is not whole, or damaged.
    """
    form, graph = read(Path(folder) / SETTINGS), Path(folder) / GRAPH
    if not graph.is_file():
        raise UsageError(f"{folder} lacks {GRAPH}: convert the detector again.")
    digest = sha256_of(graph)
    if digest != form.graph:
        raise UsageError(f"{graph} is not what was converted (its SHA-256 is another): convert it again.")
    return LightDetector(form, _session(graph, session_options(), device), digest)


def load_published(
    name: str, device: str = "auto", *, weights: str, options: Mapping[str, str]
) -> LightDetector:
    """The detector of a baseline whose graph ships in the package, with the weights of a published file.

    Raises:
        UsageError: the weights are missing, damaged or another network's.
    """
    settings = shipped(name, options)
    assert settings is not None, "the caller asks `shipped` first"
    form, path = read(settings), Path(weights)
    if path.is_dir():
        path = path / form.facts.files[0]
    tensors = read_tensors(path, form)
    import onnxruntime

    session = session_options()
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(tensor) for tensor in tensors.values()]
    session.add_external_initializers(list(tensors), values)
    return LightDetector(form, _session(settings.with_suffix(".onnx"), session, device), sha256_of(path))


def _session(graph: Path, options: Any, device: str) -> Any:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        raise UsageError(
            "No CUDA build of ONNX Runtime is installed: use --device cpu, or install onnxruntime-gpu."
        )
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"][1 if device == "cpu" else 0 :]
    try:
        session = onnxruntime.InferenceSession(
            str(graph), options, providers=[name for name in providers if name in available]
        )
    except Exception as error:  # ONNX Runtime's own classes have no base in common
        raise UsageError(f"{graph} cannot be loaded: convert the detector again.") from error
    ensure_finite_graph(graph)
    return session
