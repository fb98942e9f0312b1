"""The bundled compact SIDA as a detector: numpy and ONNX Runtime, no torch.

One pass of the language model over the picture and the answer's template gives the class and [SEG], whose state is
fused with the class and decoded to a mask. The same model then writes the explanation greedily, after an opening that
states the measured place and size of the mask, so that words and mask agree.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelsleuth._version import __version__
from pixelsleuth.compact import grammar
from pixelsleuth.compact.ruling import explanation, rule
from pixelsleuth.compact.sessions import session_options, usual_threads
from pixelsleuth.compact.tiles import GRID, middle, reduced, small, traced, windows
from pixelsleuth.core import decision as decisions
from pixelsleuth.core.content import ensure_content
from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.finite import ensure_finite_graph
from pixelsleuth.core.region import regions
from pixelsleuth.core.scores import FILE, read_scores
from pixelsleuth.core.verdict import LABELS, Label, Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.pictures.images import Picture

Array = np.ndarray
GRAPHS = ("traces", "repeats", "look", "statistics", "fuse", "language", "mask")
LARGEST = 16_000_000
"""Pixels judged at native resolution; a larger picture is reduced to this size first, and says so."""
LOADERS = 2
"""Graphs that are loaded at once."""
REPEAT_SIDE = 384
LOOK_SIDE = 512
"""Longer side of the picture for EfficientNet's maps."""
MEASURED = ("noise", "detail")
PROMPT = [grammar.IDS[word] for word in grammar.PROMPT_AFTER]
CLS_AT = len(PROMPT) - 1


class CompactDetector(Detector):
    """The bundled detector: class, mask and explanation. `folder` holds seven ONNX graphs and `compact.json`."""

    name = "compact"
    batches = False
    capabilities = frozenset({Capability.DETECT, Capability.LOCALIZE, Capability.EXPLAIN})

    def __init__(self, folder: Path, *, device: str = "auto", threads: int | None = None) -> None:
        import onnxruntime

        files_needed = [_graph(folder, name) for name in (*GRAPHS, "compact")]
        missing = [path.name for path in files_needed if not path.is_file()]
        if missing:
            raise UsageError(
                f"{folder} lacks {', '.join(missing)}: export a checkpoint there with `pixelsleuth export`."
            )
        for path in files_needed:
            ensure_content(path)
        self.settings: dict[str, Any] = _settings(_graph(folder, "compact"))
        if self.settings.get("vocabulary") != grammar.VOCABULARY:
            raise UsageError(
                f"{folder} was exported with another vocabulary: export it again with this version."
            )
        self.version = f"{__version__}+{self.settings.get('weights', 'untrained')}"
        self.beside = threads or usual_threads()
        self._beside = ThreadPoolExecutor(self.beside, thread_name_prefix="judge")
        options = session_options(threads)
        providers = _providers(device, onnxruntime.get_available_providers())
        # ONNX Runtime lets go of the interpreter, so that graphs load beside each other and beside the decision's fit.
        with ThreadPoolExecutor(LOADERS, thread_name_prefix="loading") as pool:
            loading = {
                name: pool.submit(_session, _graph(folder, name), options, providers) for name in GRAPHS
            }
            self.scores = read_scores(folder / FILE)
            if self.scores is not None:
                self.decide_by()
            self.graphs = {name: session.result() for name, session in loading.items()}

    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """One verdict a picture. Small ones leave cores idle, so these are judged beside each other, in threads."""
        judge = functools.partial(self._judge, explain=explain)
        small = [picture for picture in pictures if len(pictures) > 1 and not self.alone(picture)]
        judged = dict(zip(map(id, small), self._beside.map(judge, small), strict=True))
        return [judged[id(picture)] if id(picture) in judged else judge(picture) for picture in pictures]

    def encode(self, pixels: Array) -> tuple[Array, Array]:
        """(H, W, 3) uint8 -> dense features (1, C, h, w) and tokens (1, N, D)."""
        traces = traced(pixels, lambda tile: self._run("traces", picture=tile)[0], self.settings["halo"])
        (repeats,) = self._run("repeats", picture=small(pixels, REPEAT_SIDE, 8)[None])
        *maps, _ = self._run("look", picture=small(pixels, LOOK_SIDE, GRID)[None])
        dense, tokens = self._run(
            "fuse",
            traces=traces,
            repeats=repeats,
            description=self.describe(pixels),
            **dict(zip(("map4", "map8", "map16"), maps, strict=True)),
        )
        return dense, tokens

    def describe(self, pixels: Array) -> Array:
        """(H, W, 3) uint8 -> the description (1, D): EfficientNet's moments, mean over windows, and the statistics."""
        *_, moments = self._run("look", picture=windows(pixels))
        (statistics,) = self._run("statistics", picture=middle(pixels)[None])
        return np.concatenate([moments.mean(axis=0, keepdims=True), statistics], axis=1)

    def read(self, dense: Array, tokens: Array) -> tuple[Array, Array]:
        """Class logits (3,) and mask logits (h, w) by the answer's template: one pass, nothing decoded."""
        answer = [grammar.IDS["[CLS]"], *grammar.encode(grammar.ANSWERS["tampered"])]
        _, classes, segmentation, hidden = self._run(
            "language", tokens=tokens, ids=np.array([PROMPT + answer])
        )
        detection = classes[:, CLS_AT]
        (mask,) = self._run(
            "mask", classes=detection, hidden=hidden[:, CLS_AT], segmentation=segmentation[:, -1], dense=dense
        )
        return detection[0], mask[0, 0]

    def probabilities(self, classes: Array) -> Array:
        """Calibrated probabilities (3,) of class logits (3,)."""
        bias = np.array(self.settings.get("bias", (0.0, 0.0, 0.0)))
        return _softmax(classes / self.settings.get("temperature", 1.0) + bias)

    def generate(self, tokens: Array, label: str, opening: str) -> str:
        """The sentence of the grammar that begins with `opening`, chosen word by word (greedy, constrained).

        The language model runs only where the grammar leaves a choice.
        """
        seg = [grammar.IDS["[SEG]"]] if label == "tampered" else []
        start = [*PROMPT, grammar.IDS["[CLS]"], *grammar.encode(grammar.ANSWERS[label]), *seg]
        words = opening.split()
        sentences = [s for s in grammar.sentences(label) if s[: len(words)] == words]
        while len(sentences) > 1:
            choices = sorted({sentence[len(words)] for sentence in sentences})
            word = choices[0]
            if len(choices) > 1:
                ids = np.array([[*start, *grammar.encode(" ".join(words))]])
                text = self._run("language", tokens=tokens, ids=ids)[0]
                word = max(choices, key=lambda choice: text[0, -1, grammar.IDS[choice]])
            words.append(word)
            sentences = [sentence for sentence in sentences if sentence[len(words) - 1] == word]
        return " ".join(sentences[0])

    def _run(self, name: str, **inputs: Array) -> list[Array]:
        # The exporter drops inputs that change nothing.
        names = {node.name for node in self.graphs[name].get_inputs()}
        return self.graphs[name].run(None, {key: value for key, value in inputs.items() if key in names})

    def _judge(self, picture: Picture, explain: bool) -> Verdict:
        pixels, warnings = picture.pixels, []
        if picture.width * picture.height > LARGEST:
            pixels = reduced(pixels, LARGEST)
            warnings.append(
                f"judged at {pixels.shape[1]} x {pixels.shape[0]} px: finer traces were not examined"
            )
        dense, tokens = self.encode(pixels)
        classes, mask_logits = self.read(dense, tokens)
        probabilities = self.probabilities(classes)
        ruling = rule(self.decision, pixels, probabilities, self.classify)
        chance = self._mask_probability(mask_logits, pixels.shape[:2])
        mask, full, places = None, None, []
        if ruling.conclusive and ruling.label is Label.TAMPERED:
            full = _upsample(chance, picture.width, picture.height)
            mask = full >= 128
            places = regions(mask, full)
            if not mask.any():
                mask = None
                warnings.append(
                    "no mask: no place is more likely tampered than not, though the picture as a whole is"
                )
        text = None
        if explain:
            generate = functools.partial(self.generate, tokens, ruling.label.value)
            text = explanation(ruling, self.decision, pixels, mask, full, generate)
        return Verdict.of(
            picture,
            dict(zip(LABELS, map(float, probabilities), strict=True)),
            model=self.model,
            inconclusive=not ruling.conclusive,
            mask=mask,
            heatmap=chance,
            regions=places,
            explanation=grammar.prose(text) if text else None,
            evidence=evidence(text, located=mask is not None) if text else [],
            warnings=warnings,
            decision=decisions.to_dict(ruling, self.decision),
        )

    def classify(self, pixels: Array) -> Array:
        """Calibrated class probabilities (3,) of (H, W, 3) uint8: no mask, no words."""
        return self.probabilities(self.read(*self.encode(pixels))[0])

    def _mask_probability(self, logits: Array, shape: tuple[int, int]) -> Array:
        """Calibrated probability (h, w) float32; the padding of the last rows and columns is cut off."""
        scaled = (logits - self.settings.get("mask_threshold", 0.0)) / self.settings.get(
            "mask_temperature", 1.0
        )
        step = _step(shape, logits.shape)
        kept = scaled[: -(-shape[0] // step), : -(-shape[1] // step)]
        return (1 / (1 + np.exp(-kept.clip(-30, 30)))).astype(np.float32)


def evidence(text: str, *, located: bool) -> list[dict[str, Any]]:
    """The claims of an explanation with their kinds, and whether each was measured or is the model's judgement."""
    measured = (*MEASURED, "place", "size") if located else MEASURED
    return [
        {"kind": kind, "statement": claim, "measured": kind in measured}
        for kind, claim in (grammar.parse(text) or {}).items()
        if claim not in (grammar.UNDECIDED, grammar.NOWHERE)
    ]


def _step(shape: tuple[int, int], grid: tuple[int, ...]) -> int:
    """Pixels between places of the map (4, 8, 16 or 32)."""
    return next(
        step for step in (4, 8, 16, 32, 64) if grid[0] * step >= shape[0] and grid[1] * step >= shape[1]
    )


def _graph(folder: Path, name: str) -> Path:
    return folder / (f"{name}.onnx" if name in GRAPHS else f"{name}.json")


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise UsageError(f"{path} is damaged: export the checkpoint again with `pixelsleuth export`.")
    return settings


def _session(path: Path, options: Any, providers: list[str]) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own classes have no base in common
        raise UsageError(
            f"{path} cannot be loaded: export the checkpoint again with `pixelsleuth export`."
        ) from error


def _providers(device: str, available: list[str]) -> list[str]:
    has_cuda = "CUDAExecutionProvider" in available
    if device == "cuda" and not has_cuda:
        raise UsageError(
            "No CUDA build of ONNX Runtime is installed: use --device cpu, or install onnxruntime-gpu."
        )
    cuda = ["CUDAExecutionProvider"] if has_cuda and device != "cpu" else []
    return [*cuda, "CPUExecutionProvider"]


def _softmax(x: Array) -> Array:
    powers = np.exp((x - x.max()).astype(np.float64))
    return powers / powers.sum()


def _upsample(chance: Array, width: int, height: int) -> Array:
    """(h, w) in 0..1 -> (H, W) uint8, bilinear."""
    coarse = Image.fromarray((chance * 255 + 0.5).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR))


def load(device: str = "auto") -> CompactDetector:
    """The detector that ships inside the package."""
    with as_file(files("pixelsleuth.compact") / "weights") as folder:
        return CompactDetector(folder, device=device)


def load_folder(folder: str, device: str = "auto") -> CompactDetector:
    """The detector that `pixelsleuth export` wrote to a folder."""
    detector = CompactDetector(Path(folder), device=device)
    for name in GRAPHS:
        ensure_finite_graph(_graph(Path(folder), name))
    return detector
