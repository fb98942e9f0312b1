"""Baselines as ONNX detectors: `pixelsleuth models convert`, its 8-bit form, and the graphs without weights that ship.

    python -m pixelsleuth.models.convert src/pixelsleuth/models/light/graphs

writes the graphs that ship. Every graph takes one prepared picture, "picture" (1, 3, h, w), and returns some of
"logit" (1,), "mask" (1, h, w) and "classes" (1, 3).
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelsleuth.compact.sessions import session_options
from pixelsleuth.core.io import replaced, sha256_of
from pixelsleuth.errors import MissingExtra, UsageError
from pixelsleuth.models.backbones.heads import FrozenHeads
from pixelsleuth.models.baseline import Baseline, baseline_class
from pixelsleuth.models.baselines.commfor import CommFor
from pixelsleuth.models.facts import FACTS
from pixelsleuth.models.light.detector import OUTPUTS, LightDetector, load_folder
from pixelsleuth.models.light.form import GRAPH, SETTINGS, STRETCH, Form, Part, ensure_convertible, read
from pixelsleuth.models.preparation import prepared

OPSET = 18
LARGEST_ERROR = 1e-3
"""Largest difference of a logit between torch and ONNX Runtime on the trial pictures."""
LARGEST_GRAPH = 1_900_000_000
"""Bytes; ONNX files end at 2 GB."""
TRACED = (320, 384)
"""Heights of the two pictures (32 wider) whose prepared sizes say whether a network sees every picture at one size; the
first one is traced."""
TRIED = ((300, 420), (509, 377))
"""Height and width of the trial pictures: not the traced sizes, so that a size frozen into the graph is noticed."""


CALIBRATION_PICTURES = 32
"""Pictures from which the ranges of activations are taken."""
LEAST_PICTURES = 8
LARGEST_LOSS = 0.005
"""Balanced accuracy that 8 bits may cost: half a point."""


class _Call(nn.Module):
    """The network as a function of one prepared picture, for the exporter."""

    def __init__(self, network: Baseline, outputs: Iterable[str]) -> None:
        super().__init__()
        self.network, self.outputs = network, tuple(outputs)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        output = self.network.run([self.network.finish(picture[0])])
        parts = {
            "logit": output.logit,
            "classes": output.classes,
            "mask": output.mask[0][None] if output.mask else None,
        }
        return tuple(part for name in self.outputs if (part := parts[name]) is not None)


def convert(
    network: Baseline, name: str, out: Path, *, weights: Mapping[str, str] | None = None
) -> LightDetector:
    """Write a folder that runs without torch, if ONNX Runtime gives what torch gives; return its detector.

    `weights`: the SHA-256 of each file that the network's weights were read from.

    Raises:
        UsageError: this baseline, or this variant of it, cannot become a graph.
        MissingExtra: the exporter's packages are missing. OSError: the folder cannot be written.
    """
    _ensure_graph(network)
    out.mkdir(parents=True, exist_ok=True)
    with replaced(out / GRAPH) as partial:
        _export(network, partial)
        digest = sha256_of(partial)
        form = form_of(network, name, graph=digest, weights=weights or {})
        import onnxruntime

        session = onnxruntime.InferenceSession(
            str(partial), session_options(), providers=["CPUExecutionProvider"]
        )
        detector = LightDetector(form, session, digest)
        compare(network, detector)
    (out / SETTINGS).write_text(json.dumps(form.to_dict(), indent=1) + "\n", encoding="utf-8")
    return detector


def form_of(network: Baseline, name: str, *, graph: str = "", weights: Mapping[str, str] = {}) -> Form:
    """The settings beside the graph of a network."""
    frame = STRETCH
    if isinstance(network, FrozenHeads) and network.options["frame"] != "resize":
        frame = network.side
    return Form(
        baseline=name,
        options=dict(network.options),
        steps=network.steps(),
        made_for=None if network.three_classes else network.facts.made_for,
        frame=frame,
        licence=network.facts.licence,
        graph=graph,
        weights=dict(weights),
    )


def compare(network: Baseline, detector: LightDetector) -> None:
    """Raise UsageError where ONNX Runtime's logits differ from torch's on pictures of noise and of smooth colour."""
    random = np.random.default_rng(0)
    for height, width in TRIED:
        noise = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
        for pixels in (noise, ramp):
            with torch.inference_mode():
                output = network.run([network.prepare(pixels)])
            answer = detector.answer(pixels)
            pairs: list[tuple[Any, Any]] = []
            if output.logit is not None:
                pairs.append((output.logit[0].numpy(), answer.logit))
            if output.classes is not None:
                pairs.append((output.classes[0].numpy(), answer.classes))
            if output.mask is not None:
                pairs.append((network.place(output.mask[0], height, width).numpy(), answer.mask))
            worst = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
            if not worst <= LARGEST_ERROR:
                raise UsageError(
                    f"The graph of {network.facts.title} differs from torch by {worst:.2g}: this variant cannot be "
                    "converted; choose another with --option."
                )


def _ensure_graph(network: Baseline) -> None:
    """Raise UsageError where this variant cannot become a graph."""
    ensure_convertible(network.facts)
    example = torch.from_numpy(prepared(np.zeros((300, 420, 3), np.uint8), network.steps()))
    if network.prepare(np.zeros((300, 420, 3), np.uint8)).shape != example.shape:
        raise UsageError(
            f"This variant of {network.facts.title} looks at several crops of a picture, which a graph does not: "
            "choose another with --option."
        )
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    if size > LARGEST_GRAPH:
        raise UsageError(
            f"{network.facts.title} has {size / 1e9:.1f} GB of weights, and an ONNX file ends at 2 GB: it runs with "
            "torch."
        )


def _export(network: Baseline, path: Path, *, fold: bool = True) -> None:
    """Trace the network into an ONNX file."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingExtra("onnx", "train") from None
    for module in network.modules():
        config = getattr(module, "config", None)
        if config is not None and hasattr(config, "_attn_implementation"):
            config._attn_implementation = "eager"
    sizes = [prepared(np.zeros((side, side + 32, 3), np.uint8), network.steps()) for side in TRACED]
    free = sizes[0].shape != sizes[1].shape
    example = torch.from_numpy(sizes[0])[None]
    with torch.inference_mode():
        output = network.run([network.finish(example[0])])
    outputs = [name for name in OUTPUTS if getattr(output, name) is not None]
    space = {2: "height", 3: "width"}
    mask = {1: "mask_height", 2: "mask_width"}
    axes = {"picture": space} | ({"mask": mask} if "mask" in outputs else {}) if free else {}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's; `compare` holds the graph equal to torch
        torch.onnx.export(
            _Call(network, outputs).eval(),
            (example,),
            str(path),
            input_names=["picture"],
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=fold,
            dynamo=False,
        )


def without_weights(network: CommFor, out: Path) -> Path:
    """Write a network's graph without its weights, and the table that locates them in the published file."""
    import onnx

    with torch.no_grad():  # equal tensors would be stored once, under one name
        random = torch.Generator().manual_seed(0)
        for value in network.parameters():
            value.normal_(generator=random)
    path = out / f"{'-'.join(['commfor', *network.options.values()])}.onnx"
    _export(network, path, fold=False)
    model: Any = onnx.load(path)
    own = {f"network.{key}": tuple(value.shape) for key, value in network.named_parameters()}
    parts = {}
    for tensor in model.graph.initializer:
        shape = own.pop(tensor.name, None)
        if shape is None:
            continue
        key, third = CommFor.published(tensor.name.removeprefix("network."))
        start = max(third, 0) * shape[0]
        parts[tensor.name] = Part(key, start, start + shape[0], shape)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "weights"
    assert not own, f"the exporter renamed {sorted(own)}"
    for node in model.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
    path.write_bytes(model.SerializeToString(deterministic=True))
    form = form_of(network, "commfor")
    content = form.to_dict() | {
        "graph": sha256_of(path),
        "tensors": {
            name: [part.key, part.start, part.stop, list(part.shape)] for name, part in parts.items()
        },
    }
    path.with_suffix(".json").write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def load_for_conversion(name: str, weights: str, options: Mapping[str, str]) -> Baseline:
    """A baseline with its weights, on the processor. Raises UsageError."""
    if name not in FACTS:
        raise UsageError(f"There is no baseline {name!r}: `pixelsleuth models` lists them.")
    ensure_convertible(FACTS[name])
    return baseline_class(name).load(weights, **options)


def quantise(folder: Path, out: Path, pictures: Sequence[NDArray[np.uint8]]) -> LightDetector:
    """Write the int8 form of a converted folder to `out`; `pictures` (H, W, 3) uint8 set the ranges of activations.

    Networks of matrix products are quantised dynamically, networks of convolutions statically.

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
    digest = sha256_of(out / GRAPH)
    small = replace(form, precision="int8", graph=digest)
    (out / SETTINGS).write_text(json.dumps(small.to_dict(), indent=1) + "\n", encoding="utf-8")
    return load_folder(str(out), "cpu")


def _convolutional(model: Any) -> bool:
    """True where most weights belong to convolutions."""
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


if __name__ == "__main__":
    for side in ("384", "224"):
        print(without_weights(CommFor(size=side).eval(), Path(sys.argv[1])))
