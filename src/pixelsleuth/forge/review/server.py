"""The review page: a small web server on this machine for people who accept, reject and correct what the forge made.

It listens on 127.0.0.1 alone, answers only requests addressed to it by that name (a web page elsewhere cannot make a
browser talk to it), and serves only files that lines of the run name. Decisions go to `review.jsonl`; the next
`pixelsleuth forge` of the same settings leaves out what was rejected and takes over corrections.

Run: `pixelsleuth forge CONFIG.yaml [key=value]... --review`
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np

from pixelsleuth.errors import OutputError, PixelSleuthError, UsageError
from pixelsleuth.forge.assemble import finished, pixels_of
from pixelsleuth.forge.configuration import ForgeConfig
from pixelsleuth.forge.locating import load_mask, png
from pixelsleuth.forge.review.decisions import (
    DECISIONS,
    Decision,
    agreement,
    append_decision,
    apply_decisions,
    outcome,
    read_decisions,
)
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import Row, read_rows, write_file, write_rows

LARGEST_BODY = 32 << 20
REVIEWER = re.compile(r"[\w .@-]{1,40}")
POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SHOWN = (
    "id", "label", "operation", "mode", "object", "replacement", "prompt", "generator", "changed_share", "split",
)  # fmt: skip
"""What the page shows of a picture's record, beside its files and its description."""


class Review:
    """What the page shows and keeps; the web server is a thin layer over it. Raises UsageError for wrong requests."""

    def __init__(self, config: ForgeConfig) -> None:
        self.context = Context(config, Path(config.out))
        lines = self.context.folder / "descriptions.jsonl"
        if not lines.is_file():
            raise UsageError(
                f"There is nothing to review in {config.out} yet; run the same command without --review first."
            )
        self.rows = {row["id"]: row for row in read_rows(lines) if "error" not in row}
        self.originals = {
            row["photograph"]: row
            for row in self.rows.values()
            if row["label"] == "real" and "file" not in row
        }

    def pictures(self, reviewer: str) -> list[dict[str, Any]]:
        """The list of the page: what each picture is, what this reviewer decided, and the outcome so far.

        Others' decisions are hidden until the reviewer has decided, so that agreement means something.
        """
        decisions = read_decisions(self.context.folder)
        entries = []
        for name, row in self.rows.items():
            of_picture = decisions.get(name, {})
            own = of_picture.get(reviewer)
            entry: dict[str, Any] = {key: row.get(key) for key in SHOWN}
            entry["description"] = own.description if own and own.description else row["description"]
            entry |= {
                "decision": own.decision if own else "",
                "note": own.note if own else "",
                "mask": bool(row.get("masks")),
            }
            entry["corrected"] = bool(own and own.mask)
            entry["original"] = row["label"] == "tampered"
            entry["outcome"] = outcome(of_picture.values()) if own else ""
            entry["reviewers"] = len(of_picture) if own else 0
            entries.append(entry)
        return entries

    def file(self, name: str, kind: str, reviewer: str) -> tuple[bytes, str]:
        """(bytes, media type) of a picture's file: `picture`, `original`, `mask` or `changed`."""
        row = self._row(name)
        if kind == "picture":
            data = finished(row, self.context).data
            return data, "image/png" if data[:4] == b"\x89PNG" else "image/jpeg"
        if kind == "original" and row.get("photograph") in self.originals:
            return png(pixels_of(self.originals[row["photograph"]], self.context)), "image/png"
        if kind in ("mask", "changed") and row.get("masks"):
            own = read_decisions(self.context.folder).get(name, {}).get(reviewer)
            path = row["masks"]["given" if kind == "mask" else kind]
            if own and own.mask and kind == "mask":
                path = own.mask
            return png(load_mask(self.context, path)), "image/png"
        raise UsageError("There is no such file.")

    def decide(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Keep an answer: `id`, `reviewer`, `decision`; optionally `description`, `note`, `mask` (base64 of a PNG)."""
        values = {key: answer.get(key) or "" for key in ("id", "reviewer", "decision", "description", "note")}
        if not all(isinstance(value, str) and _is_text(value) for value in values.values()):
            raise UsageError("A decision is made of texts: valid Unicode, without control characters.")
        row = self._row(values["id"])
        if not REVIEWER.fullmatch(values["reviewer"]):
            raise UsageError("Give your name: letters, digits, space, dot, dash or @, at most 40.")
        if values["decision"] not in DECISIONS:
            raise UsageError("A decision is accept or reject.")
        decision = Decision(
            **{**values, "description": values["description"][:5000], "note": values["note"][:2000]}
        )
        before = read_decisions(self.context.folder).get(row["id"], {}).get(decision.reviewer)
        if answer.get("mask"):
            decision = replace(decision, mask=self._keep_mask(row, decision.reviewer, answer["mask"]))
        elif before is not None and before.mask:
            decision = replace(decision, mask=before.mask)
        append_decision(self.context.folder, decision)
        return {"saved": True}

    def export(self) -> dict[str, Any]:
        """Write what was accepted to `accepted.jsonl` and the agreement to `agreement.json`; the counts."""
        folder = self.context.folder
        reviewed = apply_decisions(folder / "descriptions.jsonl", folder)
        rows = [row for row in read_rows(reviewed) if row.get("review") == "accepted"]
        figures = agreement(folder)
        write_rows(folder / "accepted.jsonl", rows, ascii=True)
        write_file(folder / "agreement.json", json.dumps(figures, indent=1) + "\n")
        return {"accepted": len(rows), "file": "accepted.jsonl", "agreement": figures}

    def _row(self, name: str) -> Row:
        if name not in self.rows:
            raise UsageError("There is no such picture.")
        return self.rows[name]

    def _keep_mask(self, row: Row, reviewer: str, text: Any) -> str:
        """Check and keep a corrected mask: a PNG of the picture's own size."""
        from PIL import Image

        if not row.get("masks"):
            raise UsageError("This picture has no mask to correct.")
        height, width = load_mask(self.context, row["masks"]["given"]).shape
        try:
            data = base64.b64decode(str(text).partition(",")[2] or str(text), validate=True)
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                if image.size != (width, height):
                    raise UsageError(f"The mask must have {width} x {height} pixels.")
                pixels = np.asarray(image.convert("L"))
        except (ValueError, OSError, SyntaxError) as error:
            raise UsageError("The mask is no PNG.") from error
        by = hashlib.sha256(reviewer.encode()).hexdigest()[:8]
        mask = ((pixels > 127) * np.uint8(255)).astype(np.uint8)
        path = f"masks/{row['id']}.{by}-{hashlib.sha256(mask.tobytes()).hexdigest()[:8]}.corrected.png"
        write_file(self.context.folder / path, png(mask))
        return path


def make_server(config: ForgeConfig, *, port: int = 0) -> ThreadingHTTPServer:
    """The server, bound but not running; `server_port` is its port. Raises UsageError and OutputError."""
    review = Review(config)
    page = files("pixelsleuth.forge.review").joinpath("page.html").read_bytes()

    class Handler(_Handler):
        pass

    Handler.review, Handler.page = review, page
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise OutputError(
            f"Port {port} cannot be used ({error.strerror}); choose another with --port."
        ) from error


def serve_review(config: ForgeConfig, *, port: int, say: Callable[[str], None]) -> None:
    """Serve until interrupted."""
    server = make_server(config, port=port)
    say(f"Review at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        path = Path(config.out) / "review.jsonl"
        say(f"Decisions are in {path}; the same command without --review applies them.")
    finally:
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    review: Review
    page: bytes
    server_version = "PixelSleuth"
    sys_version = ""

    def do_GET(self) -> None:
        if not self._addressed():
            return
        path, _, query = self.path.partition("?")
        reviewer = _reviewer(query)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if path == "/":
            self._send(200, self.page, "text/html; charset=utf-8")
        elif parts == ["api", "pictures"]:
            self._answer(lambda: self.review.pictures(reviewer))
        elif parts == ["api", "agreement"]:
            self._answer(lambda: agreement(self.review.context.folder))
        elif len(parts) == 3 and parts[0] == "file":
            self._answer(lambda: self.review.file(parts[1], parts[2], reviewer))
        else:
            self._send(404, b"There is no such page.", "text/plain")

    def do_POST(self) -> None:
        if not self._addressed():
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= LARGEST_BODY):
            self.close_connection = True
            self._send(413, b"Too much.", "text/plain")
            return
        body = self.rfile.read(int(length))
        # A form on another site can only send other types.
        if self.headers.get_content_type() != "application/json":
            self._send(415, b"Send JSON.", "text/plain")
            return
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self._send(400, b"Send a JSON object.", "text/plain")
        elif self.path == "/api/decide":
            self._answer(lambda: self.review.decide(answer))
        elif self.path == "/api/export":
            self._answer(self.review.export)
        else:
            self._send(404, b"There is no such page.", "text/plain")

    def _addressed(self) -> bool:
        """Whether the request names this machine; one from a page whose own name was led here is refused."""
        known = (self.headers.get("Host") or "").rpartition(":")[0] in ("127.0.0.1", "localhost")
        if not known:
            self._send(403, b"Open this page as 127.0.0.1.", "text/plain")
        return known

    def _answer(self, make: Callable[[], Any]) -> None:
        """Send what `make` gives: JSON, or (bytes, media type)."""
        try:
            result = make()
        except PixelSleuthError as error:
            # A full disk is not the page's fault; everything else that is refused is.
            status = 500 if isinstance(error, OutputError) else 400
            self._send(status, json.dumps({"error": str(error)}).encode(), "application/json")
            return
        if isinstance(result, tuple):
            self._send(200, *result)
        else:
            self._send(200, json.dumps(result).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: the terminal is the person's."""


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8 (no half of a surrogate pair) and shown (no control characters but breaks)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return not any(ord(character) < 32 and character not in "\n\r\t" for character in value)


def _reviewer(query: str) -> str:
    name = parse_qs(query).get("reviewer", [""])[0]
    return name if REVIEWER.fullmatch(name) else ""
