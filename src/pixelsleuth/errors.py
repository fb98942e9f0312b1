"""Every error class, each with a stable code. A message is one sentence that says what is wrong and what to do next.

`PictureError` is about one picture: the others are still judged (exit status 1). `UsageError` is about the call itself
(exit status 2). JSON records carry `code`, which does not change; messages may.
"""

# ruff: noqa: N818  (the names say what went wrong; "Error" in each would repeat it)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class PixelSleuthError(Exception):
    """Base of every error that PixelSleuth raises on purpose; `str(error)` is its message."""

    code = "error"

    def to_dict(self) -> dict[str, str]:
        """Return `{"code", "message"}`, the `error` field of a verdict record."""
        return {"code": self.code, "message": str(self)}


class PictureError(PixelSleuthError):
    """One picture could not be read.

    `evidence`: what its bytes say by themselves, None where nobody looked (`pictures.images.open_picture`).
    """

    code = "picture_error"
    evidence: Sequence[Any] | None = None


class PictureNotFound(PictureError):
    """The file does not exist or may not be read."""

    code = "picture_not_found"


class NotAPicture(PictureError):
    """No picture at all: text, an empty file, a device, a pipe, a folder, an array of another shape or type."""

    code = "not_a_picture"


class UnsupportedFormat(PictureError):
    """A picture, but of a format or a variant that is not read; nothing was decoded."""

    code = "unsupported_format"


class PictureTooLarge(PictureError):
    """More pixels than `--max-megapixels`, more than 512 MiB, or more memory to decode than is free, by the header."""

    code = "picture_too_large"


class PictureTooSmall(PictureError):
    """Fewer than 16 pixels on a side."""

    code = "picture_too_small"


class CorruptPicture(PictureError):
    """Truncated, or so damaged that its decoder gives up; a JPEG may still decode, with grey parts."""

    code = "corrupt_picture"


class BadMask(CorruptPicture):
    """The true mask of a picture cannot be read, so that the picture is not judged."""


class FetchError(PictureError):
    """The service and `mcp`: a picture could not be fetched from the address that names it."""

    code = "fetch_error"


class FetchRefused(FetchError):
    """The service and `mcp`: the address of a picture, or one that it redirects to, may not be fetched."""

    code = "fetch_refused"


class FetchTimeout(FetchError):
    """The service and `mcp`: a picture did not arrive within 10 seconds."""

    code = "fetch_timeout"


class DecoderFailed(PictureError):
    """The service and scans: decoding took more time or memory than it is given, or ended the decoding process."""

    code = "decoder_failed"


class JudgeEnded(PictureError):
    """The detector's process ended, or took too long, at this picture: it is not given to it again."""

    code = "judge_ended"


class PictureChanged(PictureError):
    """A scan only: the file is not the one that the plan lists."""

    code = "picture_changed"


class UsageError(PixelSleuthError):
    """The call itself is wrong: missing weights, an unknown device, an unknown setting."""

    code = "usage_error"


class UnknownModel(UsageError):
    """No detector has this name; the nearest one is suggested."""

    code = "unknown_model"


class DamagedWeights(UsageError):
    """Weights have changed since they were fetched; the message names the command that fetches them again."""

    code = "damaged_weights"


class DownloadError(UsageError):
    """Weights cannot be fetched, or are not what they should be; nothing of them is used."""

    code = "download_error"


class Unreachable(DownloadError):
    """A download: no server answered: no network, no such host, or no service there."""

    code = "unreachable"


class Interrupted(DownloadError):
    """A download: the server fell silent, broke off or is busy; the same command continues it."""

    code = "interrupted"


class NotThere(DownloadError):
    """A download: the server has no such file (404)."""

    code = "not_there"


class OutputError(UsageError):
    """A report, mask or record cannot be written."""

    code = "output_error"


class OutputInUse(OutputError):
    """Another run is writing the same output."""

    code = "output_in_use"


class NoPictures(UsageError):
    """The named folders hold no picture."""

    code = "no_pictures"


class SourceError(UsageError):
    """A scan: SOURCE cannot be listed, or `--where` is no condition."""

    code = "source_error"


class PlanMismatch(UsageError):
    """A scan: the folder of `--out` holds another scan, or parts of another model."""

    code = "plan_mismatch"


class ClusterError(UsageError):
    """`--engine ray`: no cluster at the address, no place for an actor, or a node that cannot do its work."""

    code = "cluster_error"


class Unfinished(UsageError):
    """Some lines of a stage failed; the others are kept, and the same command goes on from there."""

    code = "unfinished"


class InternalError(PixelSleuthError):
    """The detector failed on a readable picture: a bug, please report it; the other pictures are still judged."""

    code = "internal_error"


class Unavailable(PixelSleuthError):
    """A network or a service failed that may work later; a rerun tries it again."""

    code = "unavailable"


class Rejected(PixelSleuthError):
    """A picture that the forge could not make or does not keep; the message says why."""

    code = "rejected"


class TrainingError(PixelSleuthError):
    """A training cannot go on; its checkpoints are kept."""

    code = "training_error"


class StageError(TrainingError):
    """A stage of a recipe failed; the stages before it are kept."""

    code = "stage_error"


class ServiceError(PixelSleuthError):
    """The service (`pixelsleuth serve`) did not do what a request wants."""

    code = "service_error"


class ServiceBusy(ServiceError):
    """`--queue` requests wait already; `Retry-After` says when to come again."""

    code = "busy"


class ServiceUnavailable(ServiceError):
    """It is starting, stopping, or did not get to the picture within `--deadline`; ask again later."""

    code = "service_unavailable"


class BodyTooLarge(ServiceError):
    """More bytes than `--max-bytes`; nothing was decoded."""

    code = "body_too_large"


class BadRequest(ServiceError):
    """A request that is not as the API says: no file, a damaged form, too slow."""

    code = "bad_request"


class NotAllowed(ServiceError):
    """No valid key (401), a host or origin that may not ask, what is turned off; `mcp`: a file outside the folders."""

    code = "not_allowed"


class NotKept(ServiceError):
    """There is no such verdict or job, or it is no longer kept."""

    code = "not_kept"


class EndpointError(PixelSleuthError):
    """A served model (`openai:URL#NAME`, `http://HOST`) is down, too slow, or answers with nonsense."""

    code = "endpoint_error"


class EndpointRefused(EndpointError):
    """The endpoint refused a request for good, with the HTTP `status`; another try would be refused as well."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class MissingExtra(UsageError):
    """A dependency is not installed; `extra` brings it (None: the core itself).

    >>> print(MissingExtra("torch", "vlm"))
    torch is not installed; run in a clone of PixelSleuth: pip install '.[vlm]'
    """

    code = "missing_extra"

    def __init__(self, package: str, extra: str | None) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed; run in a clone of PixelSleuth: {install_command(extra)}"
        )


def install_command(extra: str | None) -> str:
    """The command that installs an extra (None: the core) in a clone; no package index has PixelSleuth yet.

    >>> install_command("heif")
    "pip install '.[heif]'"
    """
    return f"pip install '.[{extra}]'" if extra else "pip install ."


def error_of(record: Mapping[str, str]) -> PixelSleuthError:
    """The error whose `to_dict` is `record`: of the class with that code, else a PixelSleuthError.

    >>> error_of({"code": "corrupt_picture", "message": "a.jpg is truncated."})
    CorruptPicture('a.jpg is truncated.')
    """
    pending: list[type[PixelSleuthError]] = [PixelSleuthError]
    for kind in pending:
        if kind.code == record["code"]:
            break
        pending += kind.__subclasses__()
    else:
        kind = PixelSleuthError
    error = kind.__new__(kind, record["message"])  # some classes make their message themselves
    error.code = record["code"]
    return error
