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
    """The bytes (or the object given) are no picture at all: text, an empty file, a folder, a pipe."""

    code = "not_a_picture"


class UnsupportedFormat(PictureError):
    """A picture, but of a format or a variant that is not read."""

    code = "unsupported_format"


class PictureTooLarge(PictureError):
    """More pixels, bytes or decoding memory than the limit allows; nothing was decoded."""

    code = "picture_too_large"


class PictureTooSmall(PictureError):
    """Too few pixels on a side to say anything about."""

    code = "picture_too_small"


class CorruptPicture(PictureError):
    """Truncated or damaged."""

    code = "corrupt_picture"


class BadMask(CorruptPicture):
    """The true mask of a picture cannot be read, so that the picture is not judged."""


class FetchError(PictureError):
    """A picture could not be fetched from the address that names it."""

    code = "fetch_error"


class FetchRefused(FetchError):
    """The address of a picture, or one that it redirects to, may not be fetched."""

    code = "fetch_refused"


class FetchTimeout(FetchError):
    """A picture did not arrive in time."""

    code = "fetch_timeout"


class DecoderFailed(PictureError):
    """Decoding took more time or memory than it is given, or ended the decoding process."""

    code = "decoder_failed"


class PictureChanged(PictureError):
    """The file is not the one that the plan of a scan lists."""

    code = "picture_changed"


class UsageError(PixelSleuthError):
    """The call itself is wrong."""

    code = "usage_error"


class UnknownModel(UsageError):
    """No detector has this name."""

    code = "unknown_model"


class DamagedWeights(UsageError):
    """Weights have changed since they were fetched."""

    code = "damaged_weights"


class DownloadError(UsageError):
    """Weights cannot be fetched, or are not what they should be; they are not used."""

    code = "download_error"


class Unreachable(DownloadError):
    """No server answered: no network, no such host, or no service there."""

    code = "unreachable"


class Interrupted(DownloadError):
    """The server fell silent, broke off or is busy; another try may succeed."""

    code = "interrupted"


class NotThere(DownloadError):
    """The server has no such file (404)."""

    code = "not_there"


class OutputError(UsageError):
    """A report, mask or record cannot be written."""

    code = "output_error"


class OutputInUse(OutputError):
    """Another run is writing the same file."""

    code = "output_in_use"


class NoPictures(UsageError):
    """The named folders hold no picture."""

    code = "no_pictures"


class SourceError(UsageError):
    """What a scan is to judge cannot be listed, or a condition on it cannot be understood."""

    code = "source_error"


class PlanMismatch(UsageError):
    """A scan in this folder was planned from another source, or its parts were judged by another model."""

    code = "plan_mismatch"


class ClusterError(UsageError):
    """The cluster that runs a command cannot be reached, or one of its nodes cannot work or write."""

    code = "cluster_error"


class Unfinished(UsageError):
    """Some lines of a stage failed; the others are kept, and the same command goes on from there."""

    code = "unfinished"


class InternalError(PixelSleuthError):
    """The detector failed on a picture that could be read; recorded, and the other pictures are still judged."""

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
    """As many requests as it may hold are waiting already; the same request succeeds later."""

    code = "busy"


class ServiceUnavailable(ServiceError):
    """It is starting, stopping, or did not get to the picture in time; the same request may succeed later."""

    code = "service_unavailable"


class BodyTooLarge(ServiceError):
    """A request has more bytes than the service takes; nothing was decoded."""

    code = "body_too_large"


class BadRequest(ServiceError):
    """A request that is not as the API says."""

    code = "bad_request"


class NotAllowed(ServiceError):
    """A request without a valid key, from a place that may not ask, or for what is turned off."""

    code = "not_allowed"


class NotKept(ServiceError):
    """There is no such verdict or job, or it is no longer kept."""

    code = "not_kept"


class EndpointError(PixelSleuthError):
    """A served model did not answer, or its answer cannot be read; recorded for the picture."""

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
        self.package = package
        self.extra = extra
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
