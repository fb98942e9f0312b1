"""Export a compact checkpoint to the six ONNX graphs that the bundled detector runs.

traces (tile -> local traces, texture), repeats (small picture -> self-correlation),
statistics (-> description), fuse (-> dense features, tokens),
language (tokens, ids -> text, class and [SEG] read-outs of every position), mask (-> mask logits).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from pixelsleuth.compact.grammar import VOCABULARY
from pixelsleuth.models.sida.compact import CompactSida, load_compact


class _Call(nn.Module):
    """Give a function of the model the shape of a module, for the exporter."""

    def __init__(self, model: CompactSida, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        encoder, sida = self.model.encoder, self.model.sida
        if self.name == "traces":
            return encoder.traces(inputs[0].permute(0, 3, 1, 2).float())
        if self.name == "repeats":
            return encoder.repeats(inputs[0].permute(0, 3, 1, 2).float())
        if self.name == "statistics":
            return encoder.statistics.describe(inputs[0].permute(0, 3, 1, 2).float())
        if self.name == "fuse":
            encoded = encoder.fuse(*inputs)
            return encoded.dense, encoded.tokens
        if self.name == "mask":
            classes, detection, segmentation, dense = inputs
            query = sida.fusion(classes, detection, segmentation[:, None])
            return sida.decoder(query, dense)
        hidden = sida.hidden_states(inputs[0], self.model.prefix, inputs[1])
        return sida.language.lm_head(hidden), sida.detection(hidden), sida.segmentation(hidden), hidden


def _examples(model: CompactSida) -> dict[str, tuple[tuple[Tensor, ...], list[str], list[str], dict]]:
    """Example inputs, input and output names, and dynamic axes of each graph."""
    dims, hidden = model.encoder.config, model.sida.language.config.hidden_size
    picture = torch.randint(0, 255, (1, 96, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        planes = picture.permute(0, 3, 1, 2).float()
        traces, texture = model.encoder.traces(planes)
        repeats = model.encoder.repeats(planes)
        statistics = model.encoder.statistics.describe(planes)
        encoded = model.encoder.fuse(traces, texture, repeats, statistics)
    rows = torch.zeros(1, 20, dtype=torch.long)
    space = {1: "height", 2: "width"}
    maps = {
        name: {2: f"{name}_height", 3: f"{name}_width"} for name in ("traces", "texture", "repeats", "dense")
    }
    return {
        "traces": (
            (picture,),
            ["picture"],
            ["traces", "texture"],
            {"picture": space, "traces": maps["traces"], "texture": maps["texture"]},
        ),
        "repeats": ((picture,), ["picture"], ["repeats"], {"picture": space, "repeats": maps["repeats"]}),
        "statistics": ((picture,), ["picture"], ["statistics"], {"picture": space}),
        "fuse": (
            (traces, texture, repeats, statistics),
            ["traces", "texture", "repeats", "statistics"],
            ["dense", "tokens"],
            {name: maps[name] for name in ("traces", "texture", "repeats", "dense")},
        ),
        "language": (
            (encoded.tokens, rows),
            ["tokens", "ids"],
            ["text", "classes", "segmentation", "hidden"],
            {name: {1: "length"} for name in ("ids", "text", "classes", "segmentation", "hidden")},
        ),
        "mask": (
            (torch.zeros(1, 3), torch.zeros(1, hidden), torch.zeros(1, dims.dense), encoded.dense),
            ["classes", "hidden", "segmentation", "dense"],
            ["mask"],
            {"dense": maps["dense"], "mask": {2: "mask_height", 3: "mask_width"}},
        ),
    }


def export_compact(checkpoint: Path, out: Path) -> list[Path]:
    """Write the graphs and `compact.json` (settings that calibration found; defaults where it has not run yet)."""
    model = load_compact(checkpoint)
    model.sida.language.config._attn_implementation = "eager"
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (inputs, names, outputs, axes) in _examples(model).items():
        path = out / f"{name}.onnx"
        with torch.no_grad(), warnings.catch_warnings():
            # Known and harmless: the graphs are held equal to torch by tests/models/test_compact_sida.py.
            warnings.filterwarnings("ignore", "Converting a tensor to a Python")
            warnings.filterwarnings("ignore", "Constant folding", UserWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # the tracing exporter's own
            torch.onnx.export(
                _Call(model, name).eval(),
                inputs,
                str(path),
                input_names=names,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=18,
                dynamo=False,
            )
        paths.append(path)
    settings_file = checkpoint / "calibration.json"
    settings = json.loads(settings_file.read_text()) if settings_file.is_file() else {}
    settings |= {"vocabulary": VOCABULARY, "parameters": sum(p.numel() for p in model.parameters())}
    settings["weights"] = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()[:8]
    settings["halo"], settings["token"] = model.encoder.config.halo, model.encoder.config.token
    (out / "compact.json").write_text(json.dumps(settings, indent=1) + "\n")
    return [*paths, out / "compact.json"]
