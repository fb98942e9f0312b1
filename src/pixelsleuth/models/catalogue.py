"""The detectors that ship, what they need and what they can do; none is imported to list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pixelsleuth.core.detector import Capability
from pixelsleuth.models.facts import CLIP_TOWER, FACTS, Facts, Origin
from pixelsleuth.models.precision import needed

VLM_PACKAGES = ("torch", "transformers", "accelerate", "sentencepiece", "safetensors")
PRECISE = ("fp32", "bf16", "int8", "int4")
SIDA = "pixelsleuth.models.sida.detector:load"
FAKEVLM = "pixelsleuth.models.fakevlm.detector:load"
SO_FAKE = "pixelsleuth.models.so_fake_r1.detector:load"
PERMISSIVE = ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT")
"""Licences under which weights are fetched without a question."""
AUTO = ("commfor", "pscc_net")
"""What `pixelsleuth models get auto` fetches: small, under permissive licences, one for either kind of fake."""


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a detector without loading it.

    `factory` is "module:callable". The callable returns a Detector; it takes `arguments`, `device` ("auto", "cpu" or
    "cuda") and, where `precisions` is not empty, `precision`. `parameters` counts weights, `compressible` those that
    int8 and int4 make smaller (the language model's layers). `download_bytes` is what the first use fetches (0: it
    ships inside the package). `extra` is the pip extra that it needs, `packages` the modules that show whether that
    extra is installed. `origins`: where `pixelsleuth models get` fetches the weights (none: by hand, or at first use).
    `facts` are a baseline's: its factory also takes `weights` and `options`.
    """

    name: str
    factory: str
    summary: str
    parameters: int | None = None
    download_bytes: int | None = None
    extra: str | None = None
    capabilities: frozenset[Capability] = frozenset({Capability.DETECT})
    licence: str | None = None
    packages: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    compressible: int = 0
    facts: Facts | None = None
    origins: tuple[Origin, ...] = ()

    @property
    def permissive(self) -> bool:
        """True where the licence lets anybody use the weights without a question."""
        return self.licence in PERMISSIVE

    @property
    def installed(self) -> bool:
        """True where everything it needs can be imported (nothing is imported to find out)."""
        return all(importable(package) for package in self.packages)

    @property
    def memory(self) -> dict[str, int]:
        """Estimated bytes at each precision: weights, and room to work with one picture at a time."""
        if self.parameters is None:
            return {}
        known = self.precisions or (("fp32",) if self.facts is not None else ())
        return {name: needed(self.parameters, self.compressible, name) for name in known}


def importable(package: str) -> bool:
    """True where a package is installed; it is not imported to find out."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _sida(published: str, parameters: int, compressible: int, size: int, *, describes: bool) -> ModelSpec:
    """One of SIDA's published checkpoints; `size` is the bytes of its repository."""
    hub_id, without_clip = f"saberzl/{published}", parameters - 290_581_504
    return ModelSpec(
        name=published.lower(),
        factory=SIDA,
        arguments=(hub_id,),
        summary=f"SIDA as its authors published it ({hub_id}){', with descriptions' if describes else ''}.",
        parameters=parameters,
        download_bytes=2 * without_clip + 1_710_000_000,
        extra="vlm",
        capabilities=frozenset(Capability) - (set() if describes else {Capability.EXPLAIN}),
        licence="see its page on the hub",
        packages=VLM_PACKAGES,
        precisions=PRECISE,
        compressible=compressible,
        origins=(Origin(hub_id, size=size), CLIP_TOWER),
    )


def baseline(facts: Facts) -> ModelSpec:
    """A baseline, by its facts."""
    return ModelSpec(
        name=facts.name,
        factory="pixelsleuth.models.baseline:load",
        arguments=(facts.name,),
        summary=f"Baseline: {facts.title} ({facts.paper}).",
        parameters=facts.parameters,
        download_bytes=sum(origin.bytes for origin in facts.origins) or None,
        extra="vlm",
        capabilities=frozenset({Capability.DETECT} | ({Capability.LOCALIZE} if facts.localizes else set())),
        licence=facts.licence,
        packages=VLM_PACKAGES,
        precisions=PRECISE if facts.compressible else (),
        compressible=facts.compressible,
        facts=facts,
        origins=facts.origins,
    )


SPECS = (
    ModelSpec(
        name="auto",
        factory="pixelsleuth.models.panel.detector:load",
        summary="The default: compact, and beside it what is in the store, each for what it was made for (a panel).",
        download_bytes=0,
        capabilities=frozenset(Capability),
        licence="of its members",
    ),
    ModelSpec(
        name="compact",
        factory="pixelsleuth.compact.detector:load",
        summary="The bundled detector: the SIDA architecture at laptop size, through ONNX Runtime.",
        parameters=4_181_709,
        download_bytes=0,
        capabilities=frozenset(Capability),
        licence="Apache-2.0",
    ),
    _sida("SIDA-7B", 7_700_812_519, 6_476_267_520, 14_820_000_000, describes=False),
    _sida("SIDA-7B-description", 7_700_812_519, 6_476_267_520, 14_820_000_000, describes=True),
    _sida("SIDA-13B", 13_993_742_055, 12_688_179_200, 27_410_000_000, describes=False),
    _sida("SIDA-13B-description", 13_993_742_055, 12_688_179_200, 27_410_000_000, describes=True),
    ModelSpec(
        name="fakevlm",
        factory=FAKEVLM,
        arguments=("lingcco/fakeVLM",),
        summary="FakeVLM as its authors published it (lingcco/fakeVLM): real or fake, with a list of artefacts.",
        parameters=7_063_427_072,
        download_bytes=2 * 7_063_427_072,
        extra="vlm",
        capabilities=frozenset({Capability.DETECT, Capability.EXPLAIN}),
        licence="see its page on the hub",
        packages=VLM_PACKAGES,
        precisions=PRECISE,
        compressible=6_476_267_520,
        origins=(Origin("lingcco/fakeVLM", size=14_130_000_000),),
    ),
    ModelSpec(
        name="qwen2.5-vl-7b",
        factory=SO_FAKE,
        arguments=("Qwen/Qwen2.5-VL-7B-Instruct",),
        summary="Qwen2.5-VL untrained, asked as So-Fake-R1 asks (no weights of So-Fake-R1 are published); SAM masks.",
        parameters=8_292_166_656,
        download_bytes=2 * 8_292_166_656 + 2_564_000_000,
        extra="vlm",
        capabilities=frozenset(Capability),
        licence="Apache-2.0",
        packages=VLM_PACKAGES,
        precisions=PRECISE,
        compressible=6_525_618_176,
    ),
)
"""All but the baselines."""


def kinds_of(config: Mapping[str, Any]) -> list[str]:
    """The names that a checkpoint's config.json gives its kind: `pixelsleuth`, `model_type`, `architectures`."""
    kinds = [config.get("pixelsleuth"), config.get("model_type"), *(config.get("architectures") or [])]
    return [kind for kind in kinds if isinstance(kind, str)]


def spec_of(name: str) -> ModelSpec | None:
    """The detector that ships under a name; only that baseline's facts are read. None: there is none."""
    if name in FACTS:
        return baseline(FACTS[name])
    return next((spec for spec in SPECS if spec.name == name), None)


def shipped_specs() -> list[ModelSpec]:
    """Every detector that ships: the systems first, then the baselines."""
    return [*SPECS, *map(baseline, FACTS.values())]


CHECKPOINTS = {
    "baseline": "pixelsleuth.models.baseline:load_folder",
    "SIDAForCausalLM": SIDA,
    "pixelsleuth_sida": SIDA,
    "so_fake_r1": SO_FAKE,
    "LlavaForConditionalGeneration": FAKEVLM,
    "Qwen2VLForConditionalGeneration": SO_FAKE,
    "Qwen2_5_VLForConditionalGeneration": SO_FAKE,
}
"""The factory for a checkpoint, by `pixelsleuth`, `model_type` or `architectures` of its config.json, in this order."""

SERVED = ModelSpec(
    "openai:URL#NAME",
    "pixelsleuth.models.fakevlm.served:load",
    "FakeVLM behind an endpoint that speaks the OpenAI chat API.",
    extra="api",
    packages=("openai",),
)
"""A served model needs no torch."""

REMOTE = ModelSpec(
    "http://HOST#NAME",
    "pixelsleuth.models.remote.client:load",
    "A model of a PixelSleuth service.",
    extra="client",
    packages=("httpx2",),
)

ADDRESSES = {"openai:": SERVED, "http://": REMOTE, "https://": REMOTE}


def addressed(name: str) -> ModelSpec | None:
    """What an address of a model needs, None where `name` is no address."""
    return next((spec for scheme, spec in ADDRESSES.items() if name.startswith(scheme)), None)


HUB = ModelSpec(
    "a checkpoint",
    "pixelsleuth.models.hub:load",
    "A checkpoint by folder or hub id.",
    extra="vlm",
    packages=VLM_PACKAGES,
)
"""What any checkpoint needs; its factory takes a hub id (owner/name)."""
