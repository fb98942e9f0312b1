"""The base class of every baseline, and the detector that judges with any of them.

A baseline is one file with a subclass of `Baseline` or `Localizer`. It defines its `facts`, how a picture becomes a
tensor (`prepare`) and what the network makes of tensors (`run`): a logit, positive where fake, and for localizers a
mask of logits. Verdicts, regions, checkpoints and errors are handled here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth._version import __version__
from pixelsleuth.core.detector import Capability, Detector
from pixelsleuth.core.names import suggestion
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import UsageError
from pixelsleuth.models.facts import FACTS, Facts, module_of
from pixelsleuth.models.inputs import Mask
from pixelsleuth.models.precision import place
from pixelsleuth.models.preparation import Steps, prepared
from pixelsleuth.models.tensor_files import read_tensors
from pixelsleuth.models.verdicts import Answer, verdict_of
from pixelsleuth.models.weights import load_strict, read_config
from pixelsleuth.pictures.images import Picture

WEIGHTS = "weights.safetensors"
"""The weights in a trained baseline's folder; a baseline with several files writes a folder `weights` instead."""


class Output(NamedTuple):
    """What a network answers for B pictures.

    `logit` (B,) is positive where fake; None for a pure localizer, whose score is its mask's largest value. `mask`
    holds for each picture logits (h, w) in the network's own frame. `classes` (B, 3) are the logits of real, full
    synthetic and tampered, where the network itself distinguishes them.
    """

    logit: Tensor | None
    mask: list[Tensor] | None = None
    classes: Tensor | None = None


class Baseline(nn.Module):
    """A network with its preparation. `options` holds the chosen variant of each of `facts.options`."""

    facts: ClassVar[Facts]
    three_classes: ClassVar[bool] = False
    frozen: ClassVar[tuple[str, ...]] = ()
    """Parts that no training changes, such as an encoder."""

    def __init__(self, **options: str) -> None:
        super().__init__()
        self.options = self.facts.variant(options)

    @classmethod
    def fresh(cls, **options: str) -> Self:
        """The network with which a training starts when it is given no weights.

        Raises:
            UsageError: this baseline cannot be trained from nothing.
        """
        return cls(**options)

    @classmethod
    def load(cls, weights: str | Path, **options: str) -> Self:
        """The network with the weights of a file (or of a folder, where the weights are several files), ready to judge.

        Raises:
            UsageError: no such file, a file with more than tensors in it, or tensors of another network.
        """
        network = cls(**options)
        load_strict(network, read_tensors(Path(weights), cls.facts.files), name=str(weights))
        return network.eval()

    @classmethod
    def loaded(cls, weights: str | Path, device: str, precision: str, **options: str) -> Self:
        """`load` for a device and a precision; large baselines override it, to load no more than they keep."""
        del device, precision
        return cls.load(weights, **options)

    def steps(self) -> Steps:
        """The steps by which a picture becomes the input, see `models.preparation`. Override this or `prepare`."""
        raise NotImplementedError

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """One picture (H, W, 3) uint8 of any size -> the network's input."""
        return self.finish(torch.from_numpy(prepared(pixels, self.steps())))

    def finish(self, x: Tensor) -> Tensor:
        """The result of the steps (3, h, w) -> the network's input, where that needs tensors of the checkpoint."""
        return x

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """The network's answer for prepared pictures, which may differ in size (see `by_shape`)."""
        raise NotImplementedError

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The published checkpoint's tensors under this network's names, and the frozen parts as they are."""
        return {key: value for key, value in self.state_dict().items() if self._is_frozen(key)} | state

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all parts but the frozen ones, which stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def _is_frozen(self, key: str) -> bool:
        return any(key.startswith(f"{name}.") for name in self.frozen)

    def begin_training(self) -> None:
        """Prepare for training: freeze parts, or add parts that only a training has."""

    def learnt(self) -> dict[str, Tensor]:
        """The tensors that a training saves, under this network's names: all but those of frozen parts."""
        return {key: value for key, value in self.state_dict().items() if not self._is_frozen(key)}

    def store(self, folder: Path) -> None:
        """Write the weights into a folder, where `load_folder` looks for them."""
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in self.learnt().items()}, folder / WEIGHTS)

    def place(self, mask: Tensor, height: int, width: int) -> Tensor:
        """A mask of logits in the network's frame -> logits (height, width) of the picture."""
        if mask.shape == (height, width):
            return mask
        return F.interpolate(mask[None, None].float(), (height, width), mode="bilinear", align_corners=False)[
            0, 0
        ]

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """A training example: augmented as the authors do, then prepared."""
        del random
        return self.prepare(pixels)

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """The authors' loss by parts, their total as "loss"; labels (B,) 1 = fake, masks (H, W) in 0..1 or None."""
        del masks
        logit = self.run(inputs).logit
        assert logit is not None
        return {"loss": F.binary_cross_entropy_with_logits(logit, labels.to(logit.dtype))}


class Localizer(Baseline):
    """A baseline that draws a mask and is trained on masks."""

    def pair(
        self, pixels: NDArray[np.uint8], mask: Mask | None, random: np.random.Generator
    ) -> tuple[Tensor, Mask | None]:
        """A training example: pixels (H, W, 3) and mask (H, W) uint8 0/255 (None: nothing is tampered) -> the network's
        input and the mask in its frame. By default nothing is augmented."""
        del random
        return self.prepare(pixels), mask

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """A training example of a picture without a mask."""
        return self.pair(pixels, None, random)[0]


def by_shape(inputs: Sequence[Tensor], run: Callable[[Tensor], Output], *, alone: bool = False) -> Output:
    """Run pictures of equal shape together, and return the answers in the order of the pictures.

    `alone`: on a processor each picture runs by itself. Networks whose maps are as large as the picture gain nothing
    from batches there and need more memory (`benchmarks/baselines.py`). Not for training: batch normalisation needs
    whole batches.
    """
    groups: dict[tuple[torch.Size, int], list[int]] = {}
    for i, tensor in enumerate(inputs):
        groups.setdefault((tensor.shape, i if alone and tensor.is_cpu else 0), []).append(i)
    logits: dict[int, Tensor] = {}
    masks: dict[int, Tensor] = {}
    for places in groups.values():
        output = run(torch.stack([inputs[i] for i in places]))
        for row, i in enumerate(places):
            if output.logit is not None:
                logits[i] = output.logit[row]
            if output.mask is not None:
                masks[i] = output.mask[row]
    order = range(len(inputs))
    return Output(
        torch.stack([logits[i] for i in order]) if logits else None,
        [masks[i] for i in order] if masks else None,
    )


def renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """A key with its beginning replaced as `prefixes` say; other keys stay.

    >>> renamed("norm1.bias", {"norm1.": "before."}), renamed("fc.bias", {"norm1.": "before."})
    ('before.bias', 'fc.bias')
    """
    prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
    return prefixes.get(prefix, "") + name.removeprefix(prefix)


def placed(network: Baseline, device: str) -> Baseline:
    """The network on a device; on a processor with channels last, where convolutions are faster."""
    layout = torch.channels_last if device == "cpu" else torch.preserve_format
    return network.to(device=device, memory_format=layout)  # type: ignore[call-overload]


class BaselineDetector(Detector):
    """Verdicts of a baseline, see `models.verdicts.verdict_of`. `made_for` is the class that "fake" stands for; None
    where the network itself distinguishes all three."""

    def __init__(self, network: Baseline, *, device: str = "cpu") -> None:
        self.network, self.device = placed(network, device).eval(), device
        self.name = network.facts.name
        self.made_for = None if network.three_classes else network.facts.made_for
        identity = repr(sorted(network.options.items())).encode()
        identity += b"".join(value.detach().cpu().numpy().tobytes()[:64] for value in network.parameters())
        self.version = f"{__version__}+{hashlib.sha256(identity).hexdigest()[:8]}"
        can = {Capability.DETECT} | ({Capability.LOCALIZE} if network.facts.localizes else set())
        self.capabilities = frozenset(can)

    @torch.inference_mode()
    def judge(self, pictures: Sequence[Picture], *, explain: bool) -> list[Verdict]:
        """One verdict a picture."""
        del explain
        inputs = [self.network.prepare(picture.pixels).to(self.device) for picture in pictures]
        output = self.network.run(inputs)
        answers = [self._answer(picture, output, i) for i, picture in enumerate(pictures)]
        return [
            verdict_of(picture, answer, made_for=self.made_for, model=self.model)
            for picture, answer in zip(pictures, answers, strict=True)
        ]

    def _answer(self, picture: Picture, output: Output, i: int) -> Answer:
        """The i-th answer of a batch in numpy, its mask at the picture's size."""
        mask = None
        if output.mask is not None:
            mask = self.network.place(output.mask[i], picture.height, picture.width).float().cpu().numpy()
        return Answer(
            None if output.logit is None else float(output.logit[i].double()),
            mask,
            None if output.classes is None else output.classes[i].double().cpu().numpy(),
        )


def load(
    name: str,
    device: str = "auto",
    *,
    weights: str,
    options: Mapping[str, str] | None = None,
    precision: str = "auto",
) -> BaselineDetector:
    """The detector of a baseline, by the name that `baseline_class` takes, with its weights.

    Raises:
        UsageError: the weights are missing, damaged or another network's; no such option or device.
    """
    where, _, _ = place(device, precision)
    network = baseline_class(name).loaded(weights, device, precision, **options or {})
    return BaselineDetector(network, device=where)


def load_folder(folder: str, device: str = "auto", precision: str = "fp32") -> BaselineDetector:
    """The detector of a folder that `pixelsleuth train` left.

    Raises:
        UsageError: the folder is not whole, or damaged.
    """
    config = read_config(Path(folder))
    if config.get("baseline") not in FACTS or not isinstance(config.get("options"), dict):
        raise UsageError(f"{folder} names no baseline of this version in its config.json.")
    weights = Path(folder) / WEIGHTS
    weights = weights if weights.is_file() else weights.with_suffix("")
    return load(
        config["baseline"], device, weights=str(weights), options=config["options"], precision=precision
    )


def store_folder(network: Baseline, name: str, folder: Path) -> None:
    """Write a folder that `load_folder` reads; `name` as for `baseline_class`. Raises OSError."""
    network.store(folder)
    config = {"pixelsleuth": "baseline", "baseline": name, "options": dict(network.options)}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def baseline_class(name: str) -> type[Baseline]:
    """The class of a baseline: by its name, or "module:Class" for one of somebody's own.

    Raises:
        UsageError: there is none of this name.
    """
    module, colon, attribute = name.partition(":")
    if not colon and name not in FACTS:
        raise UsageError(f"There is no baseline {name!r}{suggestion(name, FACTS)}")
    try:
        members = vars(import_module(module if colon else module_of(name)))
    except ModuleNotFoundError as error:
        raise UsageError(f"There is no baseline {name!r}: {error}.") from error
    candidates = [members.get(attribute)] if colon else members.values()
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, Baseline):
            facts = getattr(candidate, "facts", None)
            if facts is not None and (colon or facts == FACTS[name]):
                return candidate
    raise UsageError(f"{name} is no Baseline with facts.")
