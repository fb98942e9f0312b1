"""A decoding process: reads pictures from untrusted bytes so that a bad file cannot take the caller along.

    python -m pixelsleuth.decoding.decoder DESCRIPTOR MEMORY [TRUST_LISTS]

It holds no model and no secret. Its memory (MEMORY bytes of address space) and the processor time of one picture are
bounded by the system; it ends when its caller does. TRUST_LISTS is a folder that replaces the shipped trust lists. A
picture gets one answer, or two where evidence is asked for:
what its pixels show is examined while the caller judges it.
"""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pixelsleuth.decoding import wire
from pixelsleuth.errors import InternalError, PictureError, PixelSleuthError
from pixelsleuth.evidence.inspection import FileExaminer
from pixelsleuth.evidence.trust_lists import read_trust_lists
from pixelsleuth.pictures.images import Picture, open_picture

if TYPE_CHECKING:
    from pixelsleuth.core.examining import Evidence


def main(descriptor: int, memory: int, trust_lists: str | None = None) -> None:
    """Answer requests until the other side closes the connection."""
    examiner = FileExaminer(read_trust_lists(trust_lists) if trust_lists is not None else None)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the caller drains first and then closes the connection
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    limit_memory(memory)
    with socket.socket(fileno=descriptor) as link, contextlib.suppress(EOFError, OSError):
        wire.send(link, {"ready": True})
        while True:
            head = wire.receive_head(link)
            data = wire.receive(link, head["size"])
            limit_time(head["seconds"])
            answer(link, head, data, examiner if head["evidence"] else None)
            del data


def answer(link: socket.socket, head: dict[str, Any], data: bytearray, examiner: FileExaminer | None) -> None:
    """Decode one picture and send it, or the error that its record will carry; then what its pixels show."""
    started = time.perf_counter()
    failure: PixelSleuthError | None = None
    try:
        picture = open_picture(
            bytes(data),
            max_megapixels=head["max_megapixels"],
            name=head["name"],
            examine=examiner.of_file if examiner is not None else None,
        )
    except PixelSleuthError as error:
        failure = error
    except Exception as error:  # a reader's fault; the words are those of `check`
        failure = InternalError(
            f"The detector failed on this picture ({type(error).__name__}: {error}); please report it."
        )
    spent = (time.perf_counter() - started) * 1000
    if failure is not None:
        evidence = failure.evidence if isinstance(failure, PictureError) else None
        wire.send(link, {"error": failure.to_dict(), "evidence": entries(evidence), "ms": spent})
        return
    wire.send(link, described(picture, spent), picture.pixels.data.cast("B"))
    if examiner is not None and picture.evidence is not None:
        try:
            shown = entries(examiner.of_pixels(picture))
        except Exception:  # costs the evidence and a warning, as in `check`
            shown = None
        wire.send(link, {"shown": shown})


def described(picture: Picture, milliseconds: float) -> dict[str, Any]:
    """All of a picture but its pixels."""
    return {
        "source": picture.source,
        "sha256": picture.sha256,
        "format": picture.format,
        "metadata": picture.metadata,
        "warnings": picture.warnings,
        "evidence": entries(picture.evidence),
        "height": picture.height,
        "width": picture.width,
        "ms": milliseconds,
    }


def entries(evidence: Sequence[Evidence] | None) -> list[dict[str, Any]] | None:
    """Findings as JSON carries them, each with its pictures."""
    if evidence is None:
        return None
    return [
        {
            "entry": finding.to_dict(),
            "pictures": [
                {
                    "caption": drawn.caption,
                    "image": base64.b64encode(drawn.image).decode("ascii"),
                    "media_type": drawn.media_type,
                }
                for drawn in finding.pictures
            ],
        }
        for finding in evidence
    ]


def limit_memory(size: int) -> None:
    """Bound the address space of this process to `size` bytes, and write no core file of somebody's picture."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def limit_time(seconds: float) -> None:
    """End this process where the next picture takes more than `seconds` of processor time."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
