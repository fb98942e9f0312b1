"""`pixelsleuth mcp`: check, inspect and explain for assistants, by the Model Context Protocol on standard streams.

One picture is judged at a time, in a thread. The protocol has standard output to itself: while the server runs, the
SDK sends what anything else prints to standard error. An error is a result: one sentence, with its code in front.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

from pixelsleuth._version import __version__
from pixelsleuth.core.verdict import Verdict
from pixelsleuth.errors import InternalError, NotAllowed, PixelSleuthError, UsageError
from pixelsleuth.evidence.inspection import FileExaminer, inspect_bytes
from pixelsleuth.evidence.trust_lists import TrustLists, read_trust_lists
from pixelsleuth.serving import assistant_words as spoken
from pixelsleuth.serving.allowed import AllowedFolders
from pixelsleuth.serving.assistant_tools import INSTRUCTIONS, tools

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector

log = logging.getLogger("pixelsleuth")
OVERLAY_SIDE = 768
"""Longer side in pixels of the picture of a tampered one's places."""
OVERLAY_QUALITY = 85
MOST_KEPT = 64
"""Verdicts that `explain` finds again without judging anew; they hold no pixels."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)


@dataclass(frozen=True)
class AssistantOptions:
    """The options of one run; the defaults are those of the command. `allow`: folders, the current one where empty."""

    allow: tuple[str, ...] = ()
    model: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    trust_list: str | None = None
    max_megapixels: float = 100.0
    max_bytes: int = 25_000_000
    allow_fetch: bool = False


class Assistant:
    """What the three tools do, without the protocol. Raises UsageError for a folder or trust list that is none."""

    def __init__(self, options: AssistantOptions, load: Callable[[], Detector] | None = None) -> None:
        self.options = options
        self.folders = AllowedFolders(options.allow or (".",))
        self.trust: TrustLists | None = read_trust_lists(options.trust_list) if options.trust_list else None
        self._load = load or self._load_model
        self._detector: Detector | None = None
        self._kept: OrderedDict[tuple[str, str], Verdict] = OrderedDict()

    @property
    def detector(self) -> Detector:
        """The model, loaded when it is first needed. Raises UsageError."""
        if self._detector is None:
            detector = self._load()
            detector.max_megapixels = self.options.max_megapixels
            detector.examiner = FileExaminer(self.trust)
            for notice in detector.notices:
                log.warning("%s", notice)
            self._detector = detector
        return self._detector

    def check(
        self, picture: str, *, explain: bool = True, overlay: bool = True, mask: bool = False
    ) -> types.CallToolResult:
        """The verdict as text and record; a conclusively tampered picture also with its places marked."""
        verdict = self._judged(picture, explain=explain)
        content: list[types.ContentBlock] = [_text(spoken.verdict_text(verdict))]
        tampered = verdict.ok and str(verdict.label) == "tampered" and not verdict.inconclusive
        if overlay and tampered:
            content.append(_marked(verdict))
        record = verdict.to_dict()
        if not mask:
            record["mask"] = None
        self._keep(verdict)
        return types.CallToolResult(
            content=content, structured_content=record, is_error=verdict.error is not None
        )

    def inspect(self, picture: str, *, fast: bool = False) -> types.CallToolResult:
        """What the file says by itself, as text and record."""
        inspection = inspect_bytes(self._bytes(picture), picture, self.trust, fast=fast)
        record = inspection.to_dict()
        unread = inspection.error is not None and inspection.format is None
        return types.CallToolResult(
            content=[_text(spoken.evidence_text(record))], structured_content=record, is_error=unread
        )

    def explain(self, picture: str | None = None) -> types.CallToolResult:
        """The words for one verdict, from the last `check` of the same bytes if there was one; else for verdicts."""
        if picture is None:
            return types.CallToolResult(content=[_text(spoken.glossary(self.detector))])
        data = self._bytes(picture)
        verdict = self._kept.get((picture, hashlib.sha256(data).hexdigest()))
        if verdict is None:
            verdict = self._judged(picture, data)
            self._keep(verdict)
        return types.CallToolResult(
            content=[_text(spoken.explanation_text(verdict))], is_error=verdict.error is not None
        )

    def _judged(self, name: str, data: bytes | bytearray | None = None, *, explain: bool = True) -> Verdict:
        stream = io.BytesIO(self._bytes(name) if data is None else data)
        stream.name = name  # what the record calls its source
        return self.detector.check(stream, explain=explain, on_error="record")

    def _keep(self, verdict: Verdict) -> None:
        if verdict.ok and verdict.explanation is not None:
            verdict.forget_picture()
            verdict.mask = verdict.heatmap = None
            self._kept[verdict.source, verdict.sha256 or ""] = verdict
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def _bytes(self, picture: str) -> bytes | bytearray:
        if _ADDRESS.match(picture) is None:
            return self.folders.read(picture)
        if not self.options.allow_fetch:
            raise NotAllowed(
                "Web addresses are not fetched; ask the user to save the picture into an allowed folder, or to start "
                "the server with --allow-fetch."
            )
        from pixelsleuth.serving.fetching import fetch

        return asyncio.run(fetch(picture, max_bytes=self.options.max_bytes))

    def _load_model(self) -> Detector:
        from pixelsleuth.models.registry import load

        return load(self.options.model, device=self.options.device, precision=self.options.precision)


def make_server(assistant: Assistant) -> Server:
    """The protocol's server over `assistant`; it judges one picture at a time."""
    offered = {tool.name: tool for tool in tools(fetch=assistant.options.allow_fetch)}
    checks = {name: Draft202012Validator(tool.input_schema) for name, tool in offered.items()}
    work: dict[str, Callable[..., types.CallToolResult]] = {
        "check": assistant.check,
        "inspect": assistant.inspect,
        "explain": assistant.explain,
    }
    turn = anyio.CapacityLimiter(1)

    async def listed(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(offered.values()))

    async def called(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        try:
            if params.name not in offered:
                raise UsageError(f"There is no tool {params.name[:60]!r}; there are {', '.join(offered)}.")
            _ensure_valid(params.name, checks[params.name], arguments)
            return await anyio.to_thread.run_sync(
                lambda: work[params.name](**arguments), limiter=turn, abandon_on_cancel=True
            )
        except PixelSleuthError as error:
            return _failed(params.name, arguments, error)
        except Exception as error:
            log.exception("%s failed", params.name)
            sentence = f"The tool failed ({type(error).__name__}); please report it."
            return _failed(params.name, arguments, InternalError(sentence))

    return Server(
        "pixelsleuth",
        version=__version__,
        title="PixelSleuth",
        instructions=INSTRUCTIONS,
        on_list_tools=listed,
        on_call_tool=called,
    )


def run_assistant(options: AssistantOptions) -> int:
    """Serve standard streams until the client closes them; return the exit status."""
    assistant = Assistant(options)

    async def serve() -> None:
        server = make_server(assistant)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(serve)
    return 0


def _ensure_valid(name: str, check: Draft202012Validator, arguments: dict[str, Any]) -> None:
    """Raise UsageError where the arguments are not as the tool says; it quotes none of them at length."""
    error = best_match(check.iter_errors(arguments))
    if error is None:
        return
    place = ".".join(map(str, error.absolute_path))
    reason = {
        "required": f"it needs {', '.join(error.schema.get('required', ()))}",
        "additionalProperties": f"it takes {', '.join(error.schema.get('properties', ()))} and nothing else",
        "type": f"{place[:60] or 'what it takes'} must be of type {error.validator_value}",
    }.get(str(error.validator), f"{place[:60]} breaks the rule {error.validator} {error.validator_value}")
    raise UsageError(f"The arguments of {name} are not valid: {reason}.")


def _failed(name: str, arguments: dict[str, Any], error: PixelSleuthError) -> types.CallToolResult:
    """The result of a call that found nothing to judge: the sentence, and with `check` its record."""
    record = None
    source = arguments.get("picture")
    if name in ("check", "inspect"):
        shown = source[:4096] if isinstance(source, str) else ""
        failed = Verdict.failed(shown, error, {"name": "", "version": ""}).to_dict()
        record = failed if name == "check" else {
            "schema": "pixelsleuth.evidence/1", "source": failed["source"], "sha256": None, "format": None,
            "width": None, "height": None, "evidence": [], "error": failed["error"],
        }  # fmt: skip
    return types.CallToolResult(
        content=[_text(spoken.error_text(error.to_dict()))], structured_content=record, is_error=True
    )


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _marked(verdict: Verdict) -> types.ImageContent:
    encoded = io.BytesIO()
    verdict.overlay(max_side=OVERLAY_SIDE).save(encoded, "JPEG", quality=OVERLAY_QUALITY)
    data = base64.b64encode(encoded.getvalue()).decode("ascii")
    return types.ImageContent(type="image", data=data, mime_type="image/jpeg")
