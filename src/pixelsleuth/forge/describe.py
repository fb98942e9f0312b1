"""Stage 6: the description of each picture.

`record` writes only what the forge did or measured, so every claim is true by construction, in SIDA's structured form,
in FakeClue's form, or as prose. `llm` lets a chat model fill SIDA's sections from the picture and the record.
`annotators` has several models list points and another one merge them (points that two or more name stay). The models
see the true label, so their texts are explanations after the fact; the record names their authors.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pixelsleuth.compact import grammar
from pixelsleuth.core.settings import fill
from pixelsleuth.data.equalise import Draw, SizePolicy, encode, resized
from pixelsleuth.errors import PixelSleuthError, UsageError
from pixelsleuth.forge.assemble import finished
from pixelsleuth.forge.configuration import LlmConfig
from pixelsleuth.forge.llm import Malformed, client_for
from pixelsleuth.forge.locating import load_mask
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Row

SIDA_SECTIONS = {
    "tampered": ("Areas", "Tampered Content", "Visual Inconsistencies"),
    "full_synthetic": ("Consistency", "Authenticity"),
    "real": ("Consistency", "Authenticity"),
}
FAKECLUE_OPENINGS = {True: "This is a real image.", False: "This is a fake image."}
LONGEST = 2500


def describe(row: Row, context: Context) -> list[Row]:
    """Add `description`, `claims` and `described_by`."""
    config = context.config.descriptions
    claims = claims_of(row, context)
    if config.method == "llm":
        text = _sida_by_model(row, claims, context)
        by = [config.llm.model]
    elif config.method == "annotators":
        text, by = _merged(row, claims, context)
    else:
        text, by = from_record(claims, config.style), ["record"]
    return [{**row, "description": text, "claims": claims, "described_by": by}]


def claims_of(row: Row, context: Context) -> dict[str, Any]:
    """What is known of a picture: from the record, and noise and detail as measured in the finished file."""
    pixels = finished(row, context).pixels
    noise, detail = grammar.measure(pixels)
    claims: dict[str, Any] = {"label": row["label"], "noise": noise, "detail": detail}
    if row["label"] == "tampered":
        mask = load_mask(context, row["masks"]["given"])
        claims |= {"place": grammar.place(mask), "size": grammar.size(mask), "operation": row["operation"]}
        claims |= {
            "mode": row["mode"],
            "object": row.get("object") or "",
            "replacement": row.get("replacement") or "",
        }
        claims["traces"] = list(row["traces"])
    if row.get("generator"):
        claims["generator"] = row["generator"]
    return claims


def from_record(claims: dict[str, Any], style: str) -> str:
    """The description that the claims alone give, in one of the three styles."""
    points = _points(claims)
    if style == "prose":
        return " ".join(f"{point[0].upper()}{point[1:]}." for point in points)
    if style == "fakeclue":
        return f"{FAKECLUE_OPENINGS[claims['label'] == 'real']} " + "; ".join(points) + "."
    sections = dict.fromkeys(SIDA_SECTIONS[claims["label"]], "")
    if claims["label"] == "tampered":
        sections["Areas"] = f"{claims['place']}, {claims['size']} of the picture"
        sections["Tampered Content"] = _content(claims)
        sections["Visual Inconsistencies"] = "; ".join(_traces(claims))
    else:
        sections["Consistency"] = f"{claims['noise']}; {claims['detail']}"
        sections["Authenticity"] = points[0]
    return sida_text(claims, sections)


def sida_text(claims: dict[str, Any], sections: dict[str, str]) -> str:
    """SIDA's structured form on one line; sections that say nothing are left out."""
    body = " ".join(f"{name}: {' '.join(text.split())}" for name, text in sections.items() if text.strip())
    if claims["label"] == "tampered":
        part = claims["mode"] == "part" or claims["operation"] == "local edit"
        return f"Type: {'part' if part else 'object'} tampered {body} [end]"
    name = "real" if claims["label"] == "real" else "synthetic"
    return f"Type: {name} {body} Final Assessment: The given image is {{{name}}} based on above analysis."


def _points(claims: dict[str, Any]) -> list[str]:
    measured = [claims["noise"], claims["detail"]]
    if claims["label"] == "tampered":
        return [
            f"in the {claims['place']}, {claims['size']} of the picture was changed: {_content(claims)}",
            *_traces(claims),
        ]
    if claims["label"] == "full_synthetic":
        return [
            f"the whole picture was made by a generator ({claims.get('generator') or 'unnamed'})",
            *measured,
        ]
    return ["a photograph that nothing was changed in", *measured]


def _traces(claims: dict[str, Any]) -> list[str]:
    return [grammar.TRACES[trace] for trace in claims["traces"]]


def _content(claims: dict[str, Any]) -> str:
    if claims["mode"] == "object":
        return f"{claims['object']} replaced by {claims['replacement']}"
    if claims["mode"] == "part":
        return f"{claims['object']} turned into {claims['replacement']}"
    return f"a region {grammar.OPERATIONS[claims['operation']]}"


def sida_prompt(claims: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """(system, prompt, JSON schema) for SIDA's sections."""
    names = SIDA_SECTIONS[claims["label"]]
    system = (
        "You are a forensic examiner who describes a picture whose making is known. Describe only what can be seen in "
        "the picture and agrees with the record. Answer with one JSON object whose keys are "
        f"{', '.join(map(repr, names))}; each value is one to three plain sentences."
    )
    properties = {name: {"type": "string"} for name in names}
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(names),
        "additionalProperties": False,
    }
    return system, f"Record: {json.dumps(claims)}", schema


def _sida_by_model(row: Row, claims: dict[str, Any], context: Context) -> str:
    system, prompt, schema = sida_prompt(claims)

    def check(answer: Any) -> dict[str, str]:
        if not isinstance(answer, dict) or set(answer) != set(schema["required"]):
            raise Malformed("the answer does not have the sections that were asked for")
        if not all(
            isinstance(text, str) and text.strip() and len(text) <= LONGEST for text in answer.values()
        ):
            raise Malformed("a section is empty or too long")
        return {name: answer[name] for name in schema["required"]}

    ask = client_for(context.config.descriptions.llm).ask
    try:
        sections = ask(system, prompt, schema=schema, check=check, image=_image(row, context))
    except Malformed as error:
        raise PixelSleuthError(f"{row['id']}: the model gave no usable description ({error}).") from None
    return sida_text(claims, sections)


POINTS = {
    "type": "object",
    "properties": {"points": {"type": "array", "items": {"type": "string"}}},
    "required": ["points"],
    "additionalProperties": False,
}


def _merged(row: Row, claims: dict[str, Any], context: Context) -> tuple[str, list[str]]:
    """FakeClue's way: every annotator lists points, the merging model keeps those that at least two of them name.

    Returns the description and the names of all models.
    """
    config, image = context.config.descriptions, _image(row, context)
    system = (
        "You list the visible signs that support what is known of a picture. Answer with one JSON object: "
        '{"points": [short statements about this picture]}.'
    )
    lists, by = [], []
    for annotator in annotators_of(config.annotators, config.llm):
        prompt = f"Known: this picture is {claims['label'].replace('_', ' ')}. Record: {json.dumps(claims)}"
        lists.append(_ask_points(annotator, system, prompt, image, row))
        by.append(annotator.model)
    merge = (
        "Several examiners described the same picture. Keep every point that at least two of them make, once; drop "
        'what only one says. Order them from the whole to details. Answer with one JSON object: {"points": [...]}.'
    )
    points = _ask_points(config.llm, merge, json.dumps(lists), None, row)
    opening = FAKECLUE_OPENINGS[claims["label"] == "real"]
    text = "; ".join(point.strip().rstrip(".;") for point in points)
    return f"{opening} {text}.", [*by, config.llm.model]


def _ask_points(config: LlmConfig, system: str, prompt: str, image: bytes | None, row: Row) -> list[str]:
    def check(answer: Any) -> list[str]:
        points = answer.get("points") if isinstance(answer, dict) else None
        texts = points if isinstance(points, list) else []
        if not texts or not all(isinstance(point, str) and point.strip() for point in texts):
            raise Malformed("the answer lists no points")
        return [point[:400] for point in texts[:40]]

    try:
        return client_for(config).ask(system, prompt, schema=POINTS, check=check, image=image)
    except Malformed as error:
        raise PixelSleuthError(f"{row['id']}: {config.model} gave no usable points ({error}).") from None


def annotators_of(annotators: list[dict[str, Any]], default: LlmConfig) -> list[LlmConfig]:
    """The settings of each annotator: `default` (descriptions.llm) with what the entry changes, its model at least."""
    if len(annotators) < 2 or not all("model" in entry for entry in annotators):
        raise UsageError("descriptions.annotators needs two models or more, each with at least `model`.")
    return [
        fill(LlmConfig, dataclasses.asdict(default) | entry, "descriptions.annotators.")
        for entry in annotators
    ]


def _image(row: Row, context: Context) -> bytes:
    pixels = finished(row, context).pixels
    if max(pixels.shape[:2]) > 1024:
        pixels = resized(pixels, SizePolicy("fit", 1024))[0]
    return encode(pixels, Draw(quality=90))
