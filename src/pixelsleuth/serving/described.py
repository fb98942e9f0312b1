"""What the OpenAPI document says of the routes beyond their parameters: bodies, answers, problems."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "A problem document (RFC 9457) with the code of PixelSleuth's error.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One sentence: what is wrong and what to do next."},
        "instance": {"type": "string", "description": "The request: urn:pixelsleuth:request:ID."},
        "code": {"type": "string"},
        "verdict": {"type": "object", "description": "The record of a picture that could not be read."},
    },
}
RECORD = {
    "type": "object",
    "title": "Verdict",
    "description": "The record of schema pixelsleuth.verdict/1, as the command line writes it.",
    "required": ["schema", "source", "label", "inconclusive", "error"],
    "properties": {
        "schema": {"const": "pixelsleuth.verdict/1"},
        "source": {"type": "string"},
        "label": {"enum": ["real", "full_synthetic", "tampered", None]},
        "inconclusive": {"type": "boolean"},
        "error": {"type": ["object", "null"]},
    },
}
_FILE = {"type": "string", "format": "binary"}
_ADDRESS = {
    "type": "object",
    "title": "Address",
    "required": ["url"],
    "additionalProperties": False,
    "properties": {"url": {"type": "string", "format": "uri"}},
}
_WHEN = {
    400: "The request is not as described.",
    401: "A valid key is needed.",
    403: "Not from this host or origin, or turned off.",
    404: "No such verdict or job, or it is no longer kept.",
    413: "More bytes than the service takes.",
    422: "The picture cannot be read, or a parameter is not valid.",
    429: "As many requests as the service holds are waiting; come again after Retry-After seconds.",
    503: "The service is starting, stopping or too slow; come again after Retry-After seconds.",
    507: "The disk of the service is full.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route with these statuses, each a problem document."""
    content = {"application/problem+json": {"schema": PROBLEM}}
    return {status: {"description": _WHEN[status], "content": content} for status in statuses}


def _body(*names: str, raw: bool) -> dict[str, Any]:
    schema = _FILE if raw else {"type": "array", "items": _FILE}
    properties = dict.fromkeys(names, schema)
    content: dict[str, Any] = {
        "multipart/form-data": {
            "schema": {"type": "object", "required": list(names), "properties": properties}
        }
    }
    if raw:
        content["application/json"] = {"schema": _ADDRESS}
        content["image/*"] = content["application/octet-stream"] = {"schema": _FILE}
    return {"requestBody": {"required": True, "content": content}}


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ID = {
    "X-Verdict-Id": {
        "schema": {"type": "string"},
        "description": "The id of the kept verdict, if it is kept.",
    }
}
_BUSY = (400, 401, 403, 413, 422, 429, 503)
CHECK: dict[str, Any] = {
    "summary": "Judge one picture",
    "description": (
        "The picture as a form (file), as the body itself with ?name= for its name in the record, or, where that is "
        "allowed, by its address."
    ),
    "openapi_extra": _body("file", raw=True),
    "responses": {200: _json(RECORD, "The verdict.") | {"headers": _ID}, **problems(*_BUSY)},
}
CARD: dict[str, Any] = {
    "summary": "Judge one picture and draw its card, for a page",
    "description": "As /v1/check, with the card of the report; a picture that cannot be read has a card too.",
    "openapi_extra": _body("file", raw=True),
    "responses": {
        200: _json(
            {
                "type": "object",
                "required": ["id", "record", "card"],
                "properties": {
                    "id": {"type": ["string", "null"], "description": "Under which the verdict is kept."},
                    "record": {"type": "string", "description": "The record, as /v1/check answers it."},
                    "card": {
                        "type": "string",
                        "description": "HTML, for a page with the report's style sheet.",
                    },
                },
            },
            "The verdict and its card.",
        ),
        **problems(*_BUSY),
    },
}
BATCH: dict[str, Any] = {
    "summary": "Judge up to 50 pictures",
    "description": "Each file of the form gets a record, in their order; one that cannot be read has error set.",
    "openapi_extra": _body("file", raw=False),
    "responses": {
        200: _json(
            {
                "type": "object",
                "required": ["verdicts", "ids"],
                "properties": {
                    "verdicts": {"type": "array", "items": RECORD},
                    "ids": {"type": "array", "items": {"type": ["string", "null"]}},
                },
            },
            "The verdicts, and the ids under which they are kept.",
        ),
        **problems(*_BUSY),
    },
}


def kept(media_type: str, description: str) -> dict[str, Any]:
    """What a route of a kept verdict answers."""
    schema = RECORD if media_type == "application/json" else _FILE
    made = {"description": description, "content": {media_type: {"schema": schema}}}
    return {"responses": {200: made, **problems(401, 404, 429, 503)}, "response_class": Response}


FEEDBACK: dict[str, Any] = {
    "summary": "Say that a verdict is wrong",
    "description": "Its hash, the verdict and the note are saved on the service, where that is turned on.",
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["note"],
                        "additionalProperties": False,
                        "properties": {"note": {"type": "string", "maxLength": 2000}},
                    }
                }
            },
        }
    },
    "response_class": Response,
    "status_code": 204,
    "responses": {204: {"description": "It is saved."}, **problems(400, 401, 403, 404, 507)},
}
READY: dict[str, Any] = {
    "summary": "Whether it takes pictures",
    "responses": {200: {"description": "It does."}, 503: {"description": "It is starting or draining."}},
}
MODELS: dict[str, Any] = {"summary": "The loaded models", "responses": problems(401)}

LINES = "application/x-ndjson"
_STATE = {
    "type": "object",
    "title": "Job",
    "required": ["id", "state", "total", "done", "failed", "model", "created", "results"],
    "properties": {
        "id": {"type": "string"},
        "state": {
            "type": "string",
            "description": "waiting, running, waiting for room on the disk, or done.",
        },
        "total": {"type": "integer"},
        "done": {"type": "integer"},
        "failed": {"type": "integer", "description": "Pictures of those done that could not be judged."},
        "model": {"type": "string"},
        "created": {"type": "number", "description": "Seconds since 1970."},
        "results": {"type": "string", "description": "Where the records are."},
    },
}
JOB: dict[str, Any] = {
    "summary": "Judge many pictures in the background",
    "description": "Up to 10,000 files of one form. The job goes on after a restart of the service.",
    "openapi_extra": _body("file", raw=False),
    "responses": {202: _json(_STATE, "The job."), **problems(400, 401, 403, 413, 422, 429, 503, 507)},
}
JOB_STATE: dict[str, Any] = {
    "summary": "How far a job is",
    "responses": {200: _json(_STATE, "The job."), **problems(401, 404)},
}
JOB_RESULTS: dict[str, Any] = {
    "summary": "The records so far",
    "description": "One a line, in the order of the files, as check --format jsonl writes them.",
    "response_class": Response,
    "responses": {
        200: {"description": "The lines.", "content": {LINES: {"schema": {"type": "string"}}}},
        **problems(401, 404),
    },
}
JOB_REMOVAL: dict[str, Any] = {
    "summary": "Stop and remove a job",
    "responses": {204: {"description": "It is gone."}, **problems(401, 404)},
}
