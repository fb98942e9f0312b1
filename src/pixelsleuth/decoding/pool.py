"""The decoding processes, seen from their caller: bytes go in, a `Picture` or a PictureError comes back.

A process that dies, or takes longer than its time, is replaced; only the picture that it was decoding fails. Pixels
come back through a socket: at 1 to 2 GB/s they cost well below a millisecond for a usual upload.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pixelsleuth.decoding import wire
from pixelsleuth.decoding.examined import DecodedPicture, findings_in
from pixelsleuth.errors import DecoderFailed, PictureError, PixelSleuthError, ServiceUnavailable, error_of

MEMORY = 2 << 30
"""Bytes of address space of a decoding process: the 1 GiB that a picture may take, libraries, and room to spare."""
COMMAND = [sys.executable, "-P", "-m", "pixelsleuth.decoding.decoder"]
START_SECONDS = 30.0
"""How long a decoding process may take to start on a busy machine."""
HELD = 1 << 30
"""Bytes of decoded pixels that wait to be judged at a time; a single larger picture is let in alone."""


BROKEN = (EOFError, OSError, ValueError, KeyError, TypeError)
"""What reading from a decoder raises that died, is too slow, or sends nonsense."""


@dataclass(frozen=True)
class Upload:
    """The bytes of a picture and how to read them; `name` is its source in the record, None for bytes without one."""

    data: bytes
    name: str | None
    evidence: bool


@dataclass(frozen=True)
class Opened:
    """What decoding gave: a picture, or the error for its record; `milliseconds` it took."""

    picture: DecodedPicture | None
    error: PixelSleuthError | None
    milliseconds: float


class Budget:
    """Bytes of decoded pixels in memory at a time."""

    def __init__(self, size: int = HELD) -> None:
        self.size, self.used = size, 0
        self._changed = threading.Condition()

    def take(self, size: int, until: float) -> None:
        """Wait for room for `size` bytes. Raises ServiceUnavailable where there is none before `until` (monotonic)."""
        with self._changed:
            left = min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX)
            fits = self._changed.wait_for(lambda: not self.used or self.used + size <= self.size, left)
            if not fits:
                raise ServiceUnavailable("The service has no room for this picture now; try again later.")
            self.used += size

    def give(self, size: int) -> None:
        """Give the room of a judged picture back."""
        with self._changed:
            self.used -= size
            self._changed.notify_all()

    def lift(self) -> None:
        """Let in whatever waits, now and later: the end is near, and no thread shall wait for it."""
        with self._changed:
            self.size = sys.maxsize
            self._changed.notify_all()


class Decoder:
    """One decoding process and the socket to it."""

    def __init__(self, memory: int = MEMORY, trust_lists: str | None = None) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [
                    *COMMAND,
                    str(theirs.fileno()),
                    str(memory),
                    *([trust_lists] if trust_lists is not None else []),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries print names and content of files there
                env=environment,
            )
        self.link = ours
        self._ready = False

    def ask(self, head: dict[str, Any], data: bytes, seconds: float) -> dict[str, Any]:
        """Send one picture and return the head of the answer. Raises EOFError, OSError, ValueError."""
        if not self._ready:
            self.link.settimeout(START_SECONDS)
            self._ready = wire.receive_head(self.link)["ready"] is True
        self.link.settimeout(seconds)
        wire.send(self.link, head, data)
        return wire.receive_head(self.link)

    def end(self) -> None:
        """End the process at once."""
        self.link.close()
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()


class DecoderPool:
    """`size` decoding processes; a thread waits for each."""

    def __init__(
        self,
        size: int,
        *,
        seconds: float,
        max_megapixels: float,
        memory: int = MEMORY,
        trust_lists: str | None = None,
    ) -> None:
        self.seconds, self.max_megapixels = seconds, max_megapixels
        self._new = functools.partial(Decoder, memory, trust_lists)
        self.budget = Budget()
        self.replaced = 0
        self.threads = ThreadPoolExecutor(size, thread_name_prefix="decode")
        self._closed = False
        self._idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        self._busy: set[Decoder] = set()
        for _ in range(size):
            self._idle.put(self._new())

    def decode(self, upload: Upload, until: float) -> Future[Opened]:
        """Decode a picture before `until` (monotonic seconds).

        Room in `budget` is taken for the pixels; who is done with the picture gives it back. The future raises
        ServiceUnavailable where there is no room or no time.
        """
        opened: Future[Opened] = Future()
        self.threads.submit(self._decode, upload, until, opened)
        return opened

    def _decode(self, upload: Upload, until: float, opened: Future[Opened]) -> None:
        if not opened.set_running_or_notify_cancel():
            return
        decoder = self._idle.get()
        if decoder.process.poll() is not None:  # it died while it had nothing to do: no fault of this picture
            decoder = self._replace(decoder)
        self._busy.add(decoder)
        whole = False
        try:
            if decoder.process.poll() is not None:
                raise ServiceUnavailable("No process that decodes can be started now; try again later.")
            if time.monotonic() > until:
                whole = True
                raise ServiceUnavailable("The service did not get to this picture in time; try again later.")
            self._ask(decoder, upload, until, opened)
            whole = True
        except ServiceUnavailable as error:
            opened.set_exception(error)
        except BaseException as error:  # whatever is wrong with this decoder, the next picture gets another
            if not opened.done():
                opened.set_exception(error)
        finally:
            self._busy.discard(decoder)
            self._idle.put(decoder if whole else self._replace(decoder))

    def _ask(self, decoder: Decoder, upload: Upload, until: float, opened: Future[Opened]) -> None:
        """Set `opened`, then wait for what the pixels show. Raises where the decoder is of no more use."""
        spoken = upload.name or "The file in memory"
        head = {
            "name": upload.name,
            "evidence": upload.evidence,
            "size": len(upload.data),
            "seconds": self.seconds,
            "max_megapixels": self.max_megapixels,
        }
        started = time.monotonic()
        try:
            answer = decoder.ask(head, upload.data, self.seconds)
            if "error" in answer:
                error = error_of(answer["error"])
                if isinstance(error, PictureError):
                    error.evidence = findings_in(answer["evidence"])
                opened.set_result(Opened(None, error, float(answer["ms"])))
                return
            picture = self._picture(decoder, answer, until)
        except BROKEN as error:
            spent = time.monotonic() - started
            late = isinstance(error, TimeoutError) or spent >= self.seconds
            why = (
                f"takes longer than {self.seconds:g} seconds"
                if late
                else "takes too much memory or is damaged"
            )
            failure = DecoderFailed(
                f"{spoken} could not be decoded: it {why}; save it as a usual JPEG or PNG."
            )
            opened.set_result(Opened(None, failure, spent * 1000))
            raise
        opened.set_result(Opened(picture, None, float(answer["ms"])))
        if picture.shown is not None:
            try:
                picture.shown.set_result(findings_in(wire.receive_head(decoder.link)["shown"]) or ())
            except BROKEN as error:
                picture.shown.set_exception(error)
                raise

    def drop(self, decoding: Future[Opened]) -> None:
        """Give the room back of a picture that nobody waits for any more."""
        if not decoding.cancelled() and decoding.exception() is None:
            picture = decoding.result().picture
            if picture is not None:
                self.budget.give(picture.pixels.nbytes)

    def close(self) -> None:
        """End all processes at once; a picture that is being decoded fails."""
        self._closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.budget.lift()
        for decoder in list(self._busy):
            with contextlib.suppress(OSError):
                decoder.process.kill()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().end()

    def processes(self) -> list[int]:
        """The process ids of the idle decoders."""
        held: list[Decoder] = []
        with contextlib.suppress(queue.Empty):
            while True:
                held.append(self._idle.get_nowait())
        for decoder in held:
            self._idle.put(decoder)
        return [decoder.process.pid for decoder in held]

    def _picture(self, decoder: Decoder, answer: dict[str, Any], until: float) -> DecodedPicture:
        height, width = int(answer["height"]), int(answer["width"])
        if not 0 < height * width <= self.max_megapixels * 1e6:
            raise ValueError("a size that no decoder gives")
        evidence = findings_in(answer["evidence"])
        self.budget.take(height * width * 3, until)
        try:
            pixels = wire.receive_pixels(decoder.link, height, width)
        except BaseException:
            self.budget.give(height * width * 3)
            raise
        return DecodedPicture(
            source=str(answer["source"]),
            sha256=str(answer["sha256"]),
            pixels=pixels,
            format=answer["format"],
            metadata=answer["metadata"],
            warnings=tuple(answer["warnings"]),
            evidence=evidence,
            shown=None if evidence is None else Future(),
        )

    def _replace(self, decoder: Decoder) -> Decoder:
        """Another decoder; the ended one itself where the system starts no process now, or the pool is closed."""
        decoder.end()
        if self._closed:
            return decoder
        try:
            new = self._new()
        except OSError:  # the next picture tries again: the pool never shrinks
            return decoder
        self.replaced += 1
        return new
