"""Everything that can go wrong on purpose, each with one sentence that says what to do next.

`PictureError` is about one picture (the others of a call are still judged: exit status 1), `UsageError` about
the call itself (exit status 2). `code` is stable and is what JSON records carry; the sentence may change.
"""

# ruff: noqa: N818  (the names are what went wrong; "Error" in each would say it twice)
from __future__ import annotations


class PixelSleuthError(Exception):
    """Base of every error that PixelSleuth raises on purpose; `str(error)` is one sentence for a person."""

    code = "error"

    def to_dict(self) -> dict[str, str]:
        """Return `{"code", "message"}`, the `error` field of a verdict record."""
        return {"code": self.code, "message": str(self)}


class PictureError(PixelSleuthError):
    """One picture could not be read."""

    code = "picture_error"


class PictureNotFound(PictureError):
    """There is no such file, or it may not be read."""

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


class UsageError(PixelSleuthError):
    """The call itself is wrong."""

    code = "usage_error"


class UnknownModel(UsageError):
    """No detector has this name."""

    code = "unknown_model"


class DamagedWeights(UsageError):
    """Weights that were fetched once are no longer what they were."""

    code = "damaged_weights"


class DownloadError(UsageError):
    """Weights cannot be fetched, or are not what they should be; nothing of them is used."""

    code = "download_error"


class Unreachable(DownloadError):
    """No server answered: no network, no such host, nobody listening."""

    code = "unreachable"


class Interrupted(DownloadError):
    """The server fell silent, broke off, or is busy: worth another try."""

    code = "interrupted"


class NotThere(DownloadError):
    """The server has no such file (404)."""

    code = "not_there"


class OutputError(UsageError):
    """A report, mask or record cannot be written where it was asked for."""

    code = "output_error"


class OutputInUse(OutputError):
    """Another run is writing the same file at this moment."""

    code = "output_in_use"


class NoPictures(UsageError):
    """Nothing to judge: the folders given hold no picture."""

    code = "no_pictures"


class Unfinished(UsageError):
    """Some lines of a stage could not be done; everything else is kept, and the same command goes on."""

    code = "unfinished"


class InternalError(PixelSleuthError):
    """The detector itself failed on a picture that could be read: recorded, so that the others are still judged."""

    code = "internal_error"


class Unavailable(PixelSleuthError):
    """Something outside failed that may work later (a network, a service): a rerun tries it again."""

    code = "unavailable"


class Rejected(PixelSleuthError):
    """A picture that the forge made, or could not make, and does not keep; the sentence says why."""

    code = "rejected"


class TrainingError(PixelSleuthError):
    """A training cannot go on; checkpoints written so far stand."""

    code = "training_error"


class StageError(TrainingError):
    """A stage of a recipe failed; the stages before it are kept."""

    code = "stage_error"


class EndpointError(PixelSleuthError):
    """A served model did not answer, or answered with nonsense; a record of the picture that was asked about."""

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
    """The command that brings an extra (None: the core), run in a clone: no index of packages has it yet.

    >>> install_command("heif")
    "pip install '.[heif]'"
    """
    return f"pip install '.[{extra}]'" if extra else "pip install ."
