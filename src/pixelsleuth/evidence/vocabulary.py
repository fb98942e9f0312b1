"""The words of the marks: IPTC digital source types, names of software, credit lines, and what each declares."""

from __future__ import annotations

from typing import Literal

Meaning = Literal["generated", "edited_by_ai", "captured", "copied", "edited", "camera", "software"]
ORDER: tuple[Meaning, ...] = (
    "generated",
    "edited_by_ai",
    "captured",
    "copied",
    "edited",
    "camera",
    "software",
)

SOURCE_TYPES: dict[str, tuple[Meaning, str]] = {
    "trainedAlgorithmicMedia": ("generated", "made by a trained model"),
    "algorithmicMedia": ("generated", "made by an algorithm without training data"),
    "dataDrivenMedia": ("generated", "drawn from data"),
    "virtualRecording": ("generated", "recorded in a virtual place"),
    "compositeWithTrainedAlgorithmicMedia": ("edited_by_ai", "a trained model added or changed parts"),
    "compositeSynthetic": ("edited_by_ai", "put together, with synthetic parts"),
    "algorithmicallyEnhanced": ("edited", "enhanced by an algorithm"),
    "humanEdits": ("edited", "changed by a person"),
    "minorHumanEdits": ("edited", "changed slightly by a person (a retired term)"),
    "composite": ("edited", "put together of several parts"),
    "compositeCapture": ("edited", "put together of several captures"),
    "digitalCreation": ("edited", "drawn by a person with software"),
    "digitalArt": ("edited", "drawn by a person with software (a retired term)"),
    "screenCapture": ("copied", "captured from a screen"),
    "digitalCapture": ("captured", "captured by a camera"),
    "computationalCapture": ("captured", "captured by a camera and merged by its computer"),
    "negativeFilm": ("captured", "scanned from negative film"),
    "positiveFilm": ("captured", "scanned from positive film"),
    "print": ("copied", "scanned from a print"),
}
"""IPTC digital source types (2024-09), what they declare, in words."""

NAMED: tuple[tuple[str, str, Meaning], ...] = (
    (r"novelai", "NovelAI", "generated"),
    (r"midjourney", "Midjourney", "generated"),
    (r"dall[- .·]?e\b", "DALL-E", "generated"),
    (r"adobe firefly", "Adobe Firefly", "generated"),
    (r"stable ?diffusion|stability ?ai", "Stable Diffusion", "generated"),
    (r"draw ?things", "Draw Things", "generated"),
    (r"invoke ?ai", "InvokeAI", "generated"),
    (r"comfy ?ui", "ComfyUI", "generated"),
    (r"easy ?diffusion", "Easy Diffusion", "generated"),
    (r"\bfooocus", "Fooocus", "generated"),
    (r"swarm ?ui", "SwarmUI", "generated"),
    (r"bing image creator|image creator from microsoft|microsoft designer", "Microsoft Designer", "generated"),
    (r"\b(imagen|gemini|nano banana)\b|google ai|picasa.*gemini", "Google AI", "generated"),
    (r"ideogram", "Ideogram", "generated"),
    (r"leonardo\.? ?ai", "Leonardo.Ai", "generated"),
    (r"black forest labs|\bflux[.1]", "FLUX", "generated"),
    (r"grok|aurora.*xai", "Grok", "generated"),
    (r"clean ?up", "Apple Photos Clean Up", "edited_by_ai"),
    (r"generative (fill|expand)", "Adobe Photoshop (generative)", "edited_by_ai"),
    (r"magic (editor|eraser)", "Google Magic Editor", "edited_by_ai"),
    (r"photoshop|lightroom|gimp|affinity|pixelmator|snapseed|photopea|picsart|canva|paint\.net|krita", "", "edited"),
    (r"darktable|capture one|facetune|meitu|corel|luminar", "", "edited"),
)  # fmt: skip
"""What the name of a piece of software declares; "" stands for the text itself."""
CREDITS: tuple[tuple[str, str, Meaning], ...] = (
    (r"made with google ai", "Google AI", "generated"),
    (r"edited with google ai", "Google AI", "edited_by_ai"),
    (r"ai[- ]generated with google photos", "Google Photos", "generated"),
    (r"(created|edited) (with|using) google (photos )?(magic|ai)", "Google Photos", "edited_by_ai"),
    (r"apple photos clean ?up", "Apple Photos Clean Up", "edited_by_ai"),
    (r"made with ai|ai[- ]generated|generated (by|with|using) ai", "an AI label", "generated"),
    (r"imagined with ai", "Meta AI", "generated"),
)
