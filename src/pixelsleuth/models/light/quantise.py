"""An fp32 ONNX detector in 8 bits: smaller and faster, and never kept unless its loss was measured.

Networks of matrix products are quantised dynamically, their weights once and for all; convolutions statically, with the
ranges of activations taken from pictures.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.errors import MissingExtra, UsageError
from pixelsleuth.models.light.detector import LightDetector, load_folder
from pixelsleuth.models.light.form import GRAPH, SETTINGS, Form, read
from pixelsleuth.models.preparation import prepared

CALIBRATION_PICTURES = 32
"""Pictures from which the ranges of activations are taken."""
LEAST_PICTURES = 8
LARGEST_LOSS = 0.005
"""Of balanced accuracy: what 8 bits may cost, half a point."""


def quantise(folder: Path, out: Path, pictures: Sequence[NDArray[np.uint8]]) -> LightDetector:
    """Write the int8 form of a converted folder to another; `pictures` (H, W, 3) uint8 set the ranges.

    Raises:
        UsageError: too few pictures, or a graph that cannot be quantised. MissingExtra: onnx is missing.
    """
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError:
        raise MissingExtra("onnx", "train") from None
    if len(pictures) < LEAST_PICTURES:
        raise UsageError(f"int8 takes its ranges from at least {LEAST_PICTURES} pictures; --data has fewer.")
    form, graph = read(folder / SETTINGS), folder / GRAPH
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger().setLevel(logging.ERROR)  # its advice on pre-processing goes to the root logger
    try:
        if _convolutional(onnx.load(graph)):
            quantization.quantize_static(
                graph, out / GRAPH, _reader(form, pictures), per_channel=True,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                weight_type=quantization.QuantType.QInt8, activation_type=quantization.QuantType.QUInt8,
            )  # fmt: skip
        else:
            quantization.quantize_dynamic(graph, out / GRAPH, op_types_to_quantize=["MatMul", "Gemm"])
    except Exception as error:  # the quantiser's own errors have no base in common
        raise UsageError(f"{form.facts.title} cannot be quantised ({error}): keep fp32.") from error
    digest = hashlib.sha256((out / GRAPH).read_bytes()).hexdigest()
    small = replace(form, precision="int8", graph=digest)
    (out / SETTINGS).write_text(json.dumps(small.to_dict(), indent=1) + "\n", encoding="utf-8")
    return load_folder(str(out), "cpu")


def _convolutional(model: Any) -> bool:
    """True where most numbers belong to convolutions."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    convolved = sum(sizes.get(node.input[1], 0) for node in model.graph.node if node.op_type == "Conv")
    return 2 * convolved > sum(sizes.values())


def _reader(form: Form, pictures: Sequence[NDArray[np.uint8]]) -> Any:
    """Prepared pictures, in the shape that the quantiser asks for."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.inputs: Iterator[dict[str, Any]] = (
                {"picture": prepared(pixels, form.steps)[None]} for pixels in pictures
            )

        def get_next(self) -> dict[str, Any] | None:
            return next(self.inputs, None)

    return Reader()
