"""The settings of a detector in ONNX form, `detector.json`, and the weights of a published file for a graph that ships.

`pixelsleuth models convert` writes `detector.json` beside `model.onnx`; it is read strictly, since anybody may have
written it. The graphs in the package (`graphs/`) have no weights: their table `tensors` names for each of their
tensors the place in the published file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.facts import FACTS, Facts
from pixelsleuth.models.preparation import Steps, checked

SETTINGS, GRAPH = "detector.json", "model.onnx"
SCHEMA = "pixelsleuth.onnx/1"
LARGEST_SETTINGS = 1_000_000
PRECISIONS = ("fp32", "int8")
COMPILED = "_orig_mod."
"""The prefix of every key in a checkpoint of a compiled network."""
KINDS = ("F64", "F32", "F16")
"""Number types that a published file may have."""
STRETCH = 0
"""The `frame` of a mask that covers the whole picture."""


@dataclass(frozen=True)
class Part:
    """The place of a graph's tensor in the published file: rows `start` to `stop` of tensor `key`."""

    key: str
    start: int
    stop: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """The settings of a detector in ONNX form.

    `baseline` and `options` name the network, `steps` its preparation, `made_for` the class that "fake" stands for
    (None: it distinguishes all three). `frame` is the side of the centre crop that its mask covers, or STRETCH.
    `weights` holds the SHA-256 of each file of weights, `graph` that of `model.onnx`.
    """

    baseline: str
    options: Mapping[str, str]
    steps: Steps
    made_for: Label | None
    frame: int = STRETCH
    precision: str = "fp32"
    licence: str = ""
    graph: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, Part] = field(default_factory=dict)

    @property
    def facts(self) -> Facts:
        """The baseline's facts."""
        return FACTS[self.baseline]

    def to_dict(self) -> dict[str, Any]:
        """The content of `detector.json`, as `read` reads it."""
        return {
            "schema": SCHEMA,
            "baseline": self.baseline,
            "title": self.facts.title,
            "options": dict(self.options),
            "prepare": [list(step) for step in self.steps],
            "fake_is": None if self.made_for is None else str(self.made_for),
            "frame": self.frame,
            "precision": self.precision,
            "licence": self.licence,
            "graph": self.graph,
            "weights": dict(self.weights),
            "tensors": {
                name: [part.key, part.start, part.stop, list(part.shape)]
                for name, part in self.tensors.items()
            },
        }


def read(path: Path) -> Form:
    """The settings in a file.

    Raises:
        UsageError: it is missing, damaged, or of another version.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST_SETTINGS + 1)
        if len(text) > LARGEST_SETTINGS:
            raise ValueError("too large")
        return _form(json.loads(text), str(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"{path} is missing: convert the detector again.") from None
        raise UsageError(
            f"{path} is damaged or of another version: convert it again with `pixelsleuth models convert`."
        ) from None


def _form(content: dict[str, Any], where: str) -> Form:
    """The settings in a file's content. Raises ValueError, TypeError, KeyError or AttributeError."""
    if content["schema"] != SCHEMA or content["baseline"] not in FACTS:
        raise ValueError("of another version")
    texts = {name: content[name] for name in ("baseline", "licence", "graph", "precision")}
    frame, fake_is = content["frame"], content["fake_is"]
    if not all(isinstance(text, str) for text in texts.values()) or texts["precision"] not in PRECISIONS:
        raise ValueError("no texts")
    if type(frame) is not int or not 0 <= frame <= 4096:
        raise ValueError("no frame")
    return Form(
        **texts,
        options={str(name): str(value) for name, value in content["options"].items()},
        steps=checked(content["prepare"], where),
        made_for=None if fake_is is None else Label(fake_is),
        frame=frame,
        weights={str(name): str(value) for name, value in content["weights"].items()},
        tensors={str(name): _part(*values) for name, values in content["tensors"].items()},
    )


def _part(key: Any, start: Any, stop: Any, shape: Any) -> Part:
    numbers = [start, stop, *shape]
    if not isinstance(key, str) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("no tensor")
    return Part(key, start, stop, tuple(shape))


def ensure_convertible(facts: Facts) -> None:
    """Raise UsageError where a baseline cannot become a graph."""
    if facts.no_graph:
        raise UsageError(f"{facts.title} cannot become an ONNX graph: {facts.no_graph}.")


def shipped(name: str, options: Mapping[str, str]) -> Path | None:
    """The settings file of the graph that ships for a baseline with these options; None where none ships."""
    variant = "-".join([name, *options.values()])
    path = Path(str(files("pixelsleuth.models.light") / "graphs" / f"{variant}.json"))
    return path if path.is_file() else None


def read_tensors(path: Path, form: Form) -> dict[str, NDArray[np.float32]]:
    """Every tensor that the graph needs, from a published safetensors file; read with numpy, every number checked.

    Raises:
        UsageError: no such file, another kind of file, another network's tensors, or NaN and infinities.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UsageError(f"There are no weights at {path}: name {form.facts.title}'s {form.facts.files[0]}.")
    try:
        with safe_open(path, framework="np") as file:
            keys = {key.removeprefix(COMPILED): key for key in file.keys()}  # noqa: SIM118 (it is no mapping)
            _same_keys(path, form, set(keys))
            rows: dict[str, int] = {}
            for part in form.tensors.values():
                rows[part.key] = max(part.stop, rows.get(part.key, 0))
            return {
                name: _tensor(file, keys[part.key], part, rows[part.key], path)
                for name, part in form.tensors.items()
            }
    except SafetensorError:
        raise UsageError(
            f"{path} is no safetensors file, or is truncated or damaged: copy or download it again."
        ) from None


def _same_keys(path: Path, form: Form, stored: set[str]) -> None:
    expected = {part.key for part in form.tensors.values()}
    for what, keys in (("lacks", expected - stored), ("also holds", stored - expected)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UsageError(f"{path} does not fit {form.facts.title}: it {what} {min(keys)}{more}.")


def _tensor(file: Any, key: str, part: Part, rows: int, path: Path) -> NDArray[np.float32]:
    """A part of the tensor `key`, which must have `rows` rows."""
    stored = file.get_slice(key)
    if stored.get_dtype() not in KINDS:
        raise UsageError(
            f"{path}: {key} is {stored.get_dtype()}; only float32, float16 and float64 are read."
        )
    if stored.get_shape() != [rows, *part.shape[1:]] or part.stop - part.start != part.shape[0]:
        raise UsageError(f"{path}: {key} has another shape, {stored.get_shape()}.")
    tensor = np.ascontiguousarray(stored[part.start : part.stop], np.float32)
    if not np.isfinite(tensor).all():
        raise UsageError(f"{path}: {key} holds numbers that are none (NaN or infinite); download it again.")
    return tensor
