"""The tools that `pixelsleuth mcp` offers an assistant: names, descriptions, schemas of arguments and results."""

from __future__ import annotations

from typing import Any

from mcp_types import Tool, ToolAnnotations

INSTRUCTIONS = (
    "PixelSleuth says whether a picture is real, wholly generated or tampered with, where and why, with measured "
    "rates of errors. Many pictures end as inconclusive: that is no verdict, and must be reported as undecided. Never "
    "derive a verdict from scores, from missing metadata or from your own look at the picture in its place."
)
PICTURE: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 4096}
PATH = "Path of the picture inside a folder that the server may read."
ADDRESS = "Path of the picture inside a folder that the server may read, or its web address (http, https)."
_NUMBER = {"type": ["number", "null"]}
VERDICT: dict[str, Any] = {
    "type": "object",
    "title": "pixelsleuth.verdict/1",
    "required": ["schema", "source", "label", "inconclusive", "error"],
    "properties": {
        "schema": {"const": "pixelsleuth.verdict/1"},
        "source": {"type": "string"},
        "inconclusive": {
            "type": "boolean",
            "description": "True: no verdict was reached; label and probabilities decide nothing.",
        },
        "label": {
            "enum": ["real", "full_synthetic", "tampered", None],
            "description": "The most probable of the three. It is the verdict only where inconclusive is false.",
        },
        "confidence": {
            **_NUMBER,
            "description": "The score of label; no verdict where inconclusive is true.",
        },
        "probabilities": {"type": ["object", "null"], "description": "Scores of the three labels."},
        "decision": {
            "type": ["object", "null"],
            "description": "How often such verdicts were wrong; null: never measured.",
        },
        "regions": {
            "type": "array",
            "description": "Altered places: boxes in pixels of the upright picture.",
        },
        "evidence": {
            "type": "array",
            "description": "Claims of the model, and (with a strength) what the file says by itself.",
        },
        "mask": {"type": ["object", "null"], "description": "Null also where mask is not asked for."},
        "error": {"type": ["object", "null"], "description": "code and message where it was not judged."},
    },
}
EVIDENCE: dict[str, Any] = {
    "type": "object",
    "title": "pixelsleuth.evidence/1",
    "required": ["schema", "source", "evidence", "error"],
    "properties": {
        "schema": {"const": "pixelsleuth.evidence/1"},
        "source": {"type": "string"},
        "evidence": {
            "type": "array",
            "description": "kind, statement, strength, false_alarms of each entry.",
        },
        "error": {"type": ["object", "null"]},
    },
}


def _arguments(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def _switch(default: bool, description: str) -> dict[str, Any]:
    return {"type": "boolean", "default": default, "description": description}


def tools(*, fetch: bool) -> list[Tool]:
    """The three tools; with `fetch` a picture may be named by its address."""
    picture = {**PICTURE, "description": ADDRESS if fetch else PATH}
    reads = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=fetch
    )
    return [
        Tool(
            name="check",
            title="Judge a picture",
            description=(
                "Judge whether one picture is real, wholly generated (full_synthetic) or tampered with; where and why. "
                "If the result says inconclusive there is no verdict: say that it could not be decided, name no label "
                "and no leaning. Report a conclusive verdict with the rate of errors that the text states; none is "
                "proof."
            ),
            input_schema=_arguments(
                ["picture"],
                picture=picture,
                explain=_switch(True, "Say why, or only what and where (faster)."),
                overlay=_switch(
                    True, "With a tampered picture, also show it with the altered places marked."
                ),
                mask=_switch(False, "Put the mask into the record, as COCO run lengths (long)."),
            ),
            output_schema=VERDICT,
            annotations=reads,
        ),
        Tool(
            name="inspect",
            title="Read what a picture file says by itself",
            description=(
                "Read what one picture file declares (metadata, Content Credentials) and what measurements of its "
                "pixels show. No model judges, so that the result is no verdict. Finding nothing means nothing: most "
                "platforms remove metadata, and anybody can write them."
            ),
            input_schema=_arguments(
                ["picture"],
                picture=picture,
                fast=_switch(False, "Leave out what only the decoded pixels show."),
            ),
            output_schema=EVIDENCE,
            annotations=reads,
        ),
        Tool(
            name="explain",
            title="Explain a verdict, or what verdicts mean",
            description=(
                "Explain in plain words the verdict on a picture: what its parts mean, how often such a verdict is "
                "wrong, what each piece of evidence is worth. Without a picture: what labels and evidence mean, and "
                "the measured rates of errors."
            ),
            input_schema=_arguments([], picture=picture),
            annotations=reads,
        ),
    ]
