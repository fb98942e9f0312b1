"""Export a compact checkpoint to the seven ONNX graphs that the bundled detector runs.

traces (tile -> local traces), repeats (small picture -> self-correlation), look (windows, or the picture at a working
size -> EfficientNet's maps and moments), statistics (-> fixed description), fuse (-> dense features, tokens), language
(tokens, ids -> text, class logits and [SEG] projection at every position), mask (-> mask logits).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from pixelsleuth.compact.detector import GRAPHS
from pixelsleuth.compact.grammar import VOCABULARY
from pixelsleuth.models.compact.compact_sida import CompactSida, load_compact

DECISION = "decision.json"
"""Scores on sources left out (`training.compact.scores`), which are copied beside the graphs."""


class _Call(nn.Module):
    """A function of the model as a module, for the exporter."""

    def __init__(self, model: CompactSida, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        encoder, sida = self.model.encoder, self.model.sida
        if self.name in ("traces", "repeats", "statistics", "look"):
            planes = inputs[0].permute(0, 3, 1, 2).float()
            if self.name == "look":
                maps, moments = encoder.look(planes)
                return *maps, moments
            view: Callable[[Tensor], Tensor] = getattr(encoder, self.name)
            return view(planes)
        if self.name == "fuse":
            traces, repeats, *maps, description = inputs
            encoded = encoder.fuse(traces, repeats, list(maps), description)
            return encoded.dense, encoded.tokens
        if self.name == "mask":
            classes, detection, segmentation, dense = inputs
            query = sida.fusion(classes, detection, segmentation[:, None], dense)
            return sida.decoder(query, dense)
        hidden = sida.hidden_states(inputs[0], self.model.prefix, inputs[1])
        return sida.language.lm_head(hidden), sida.detection(hidden), sida.segmentation(hidden), hidden


def _examples(model: CompactSida) -> dict[str, tuple[tuple[Tensor, ...], list[str], list[str], dict]]:
    """Example inputs, input and output names, and dynamic axes of each graph."""
    dims, hidden = model.encoder.config, model.sida.language.config.hidden_size
    picture = torch.randint(0, 255, (1, 96, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        planes = picture.permute(0, 3, 1, 2).float()
        traces, repeats = model.encoder.traces(planes), model.encoder.repeats(planes)
        maps, moments = model.encoder.look(planes)
        description = torch.cat([moments, model.encoder.statistics(planes)], dim=1)
        encoded = model.encoder.fuse(traces, repeats, maps, description)
    rows = torch.zeros(1, 20, dtype=torch.long)
    space = {1: "height", 2: "width"}
    names = ("traces", "repeats", "map4", "map8", "map16", "dense")
    free = {name: {2: f"{name}_height", 3: f"{name}_width"} for name in names}
    windows = {"picture": {0: "windows", **space}, "moments": {0: "windows"}}
    return {
        "traces": ((picture,), ["picture"], ["traces"], {"picture": space, "traces": free["traces"]}),
        "repeats": ((picture,), ["picture"], ["repeats"], {"picture": space, "repeats": free["repeats"]}),
        "look": (
            (picture,),
            ["picture"],
            ["map4", "map8", "map16", "moments"],
            windows | {name: {0: "windows", **free[name]} for name in ("map4", "map8", "map16")},
        ),
        "statistics": ((picture,), ["picture"], ["statistics"], {"picture": space}),
        "fuse": (
            (traces, repeats, *maps, description),
            ["traces", "repeats", "map4", "map8", "map16", "description"],
            ["dense", "tokens"],
            free,
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
            {"dense": free["dense"], "mask": {2: "mask_height", 3: "mask_width"}},
        ),
    }


def export_graphs(model: CompactSida, out: Path, names: Collection[str] = GRAPHS) -> list[Path]:
    """Write the named graphs of a model in evaluation mode."""
    model.sida.language.config._attn_implementation = "eager"
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (inputs, inside, outside, axes) in _examples(model).items():
        if name not in names:
            continue
        path = out / f"{name}.onnx"
        with torch.no_grad(), warnings.catch_warnings():
            # Known and harmless: the graphs are held equal to torch by tests/models/test_compact_sida.py.
            warnings.filterwarnings("ignore", "Converting a tensor to a Python")
            warnings.filterwarnings("ignore", "torch.from_numpy results are registered")
            warnings.filterwarnings("ignore", "Constant folding", UserWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # the tracing exporter's own
            torch.onnx.export(
                _Call(model, name).eval(),
                inputs,
                str(path),
                input_names=inside,
                output_names=outside,
                dynamic_axes=axes,
                opset_version=18,
                dynamo=False,
            )
        paths.append(path)
    return paths


def export_compact(checkpoint: Path, out: Path) -> list[Path]:
    """Write the graphs and `compact.json` (calibrated settings; the defaults where nothing was calibrated)."""
    model = load_compact(checkpoint)
    paths = export_graphs(model, out)
    settings_file = checkpoint / "calibration.json"
    settings = json.loads(settings_file.read_text()) if settings_file.is_file() else {}
    settings |= {"vocabulary": VOCABULARY, "parameters": sum(p.numel() for p in model.parameters())}
    settings["weights"] = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()[:8]
    settings["halo"], settings["token"] = model.encoder.config.halo, model.encoder.config.token
    (out / "compact.json").write_text(json.dumps(settings, indent=1) + "\n")
    paths.append(out / "compact.json")
    if (checkpoint / DECISION).is_file():
        paths.append(Path(shutil.copy(checkpoint / DECISION, out / DECISION)))
    return paths
