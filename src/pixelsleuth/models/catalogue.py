"""What detectors there are, without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from pixelsleuth.core.detector import Capability
from pixelsleuth.models.facts import FACTS, Facts
from pixelsleuth.models.origins import ORIGINS, PERMISSIVE, Origin
from pixelsleuth.models.precision import needed


def importable(package: str) -> bool:
    """True where a package is there (it is not imported to find out)."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


VLM_PACKAGES = ("torch", "transformers", "accelerate", "sentencepiece", "safetensors")
PRECISE = ("fp32", "bf16", "int8", "int4")
SIDA = "pixelsleuth.models.sida.detector:load"
FAKEVLM = "pixelsleuth.models.fakevlm.detector:load"
SO_FAKE = "pixelsleuth.models.so_fake_r1.detector:load"
LISA = "pixelsleuth.models.sida.lisa:load_detector"


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a detector without loading it.

    `factory` is "module:callable"; the callable takes `arguments`, `device` ("auto", "cpu" or "cuda") and, where
    `precisions` names some, `precision`, and returns a Detector. `parameters` counts weights, `compressible` those
    that int8 and int4 make smaller (the language model's layers); `download_bytes` is what the first use fetches
    (0: it ships inside the package); `extra` is the pip extra it needs, `packages` the modules that tell whether that
    extra is installed. `facts` are a baseline's: with them the factory also takes `weights` and `options`.
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

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where `pixelsleuth models get` fetches the weights from; nowhere where they are fetched by hand."""
        return ORIGINS.get(self.name, ())

    @property
    def permissive(self) -> bool:
        """True where the licence is one of those that ask nobody's consent."""
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


def _sida(name: str, hub_id: str, parameters: int, compressible: int, *, describes: bool) -> ModelSpec:
    can = frozenset(Capability) if describes else frozenset(Capability) - {Capability.EXPLAIN}
    clip = 290_581_504
    return ModelSpec(
        name=name,
        factory=SIDA,
        arguments=(hub_id,),
        summary=f"SIDA as its authors published it ({hub_id}){', with descriptions' if describes else ''}.",
        parameters=parameters,
        download_bytes=2 * (parameters - clip) + 1_710_000_000,
        extra="vlm",
        capabilities=can,
        licence="see its page on the hub",
        packages=VLM_PACKAGES,
        precisions=PRECISE,
        compressible=compressible,
    )


def _baseline(facts: Facts) -> ModelSpec:
    large = facts.name == "lisa"
    can = {Capability.DETECT} | ({Capability.LOCALIZE} if facts.localizes else set())
    return ModelSpec(
        name=facts.name,
        factory=LISA if large else "pixelsleuth.models.baseline:load",
        arguments=() if large else (facts.name,),
        summary=f"Baseline: {facts.title} ({facts.paper}).",
        parameters=facts.parameters,
        download_bytes=sum(origin.bytes for origin in ORIGINS.get(facts.name, ())) or None,
        extra="vlm",
        capabilities=frozenset(can),
        licence=facts.licence,
        packages=VLM_PACKAGES,
        precisions=PRECISE if large else (),
        compressible=6_476_267_520 if large else 0,
        facts=facts,
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
    _sida("sida-7b", "saberzl/SIDA-7B", 7_700_812_519, 6_476_267_520, describes=False),
    _sida("sida-7b-description", "saberzl/SIDA-7B-description", 7_700_812_519, 6_476_267_520, describes=True),
    _sida("sida-13b", "saberzl/SIDA-13B", 13_993_742_055, 12_688_179_200, describes=False),
    _sida(
        "sida-13b-description", "saberzl/SIDA-13B-description", 13_993_742_055, 12_688_179_200, describes=True
    ),
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
    *map(_baseline, FACTS.values()),
)

CHECKPOINTS = {
    "baseline": "pixelsleuth.models.baseline:load_folder",
    "SIDAForCausalLM": SIDA,
    "pixelsleuth_sida": SIDA,
    "so_fake_r1": SO_FAKE,
    "LlavaForConditionalGeneration": FAKEVLM,
    "Qwen2VLForConditionalGeneration": SO_FAKE,
    "Qwen2_5_VLForConditionalGeneration": SO_FAKE,
}
"""Who loads a checkpoint, by `pixelsleuth`, `model_type` or `architectures` of its config.json, in this order."""

SERVED = ModelSpec(
    "openai:URL#NAME",
    "pixelsleuth.models.fakevlm.served:load",
    "FakeVLM behind an endpoint that speaks the OpenAI chat API.",
    extra="api",
    packages=("openai",),
)
"""What `openai:...` needs: no torch."""

HUB = ModelSpec(
    "a checkpoint",
    "pixelsleuth.models.hub:load",
    "A checkpoint by folder or hub id.",
    extra="vlm",
    packages=VLM_PACKAGES,
)
"""What any checkpoint needs; an owner/name that is no folder goes to its factory."""
