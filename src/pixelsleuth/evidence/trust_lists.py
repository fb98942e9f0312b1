"""Whose signatures are recognised: the lists of the C2PA conformance programme, as shipped or out of a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pixelsleuth.errors import UsageError

SHIPPED = Path(__file__).parent / "trust"
"""Its README.md says where the lists come from and of which day they are."""
SIGNERS, TIME_STAMPERS = "C2PA-TRUST-LIST.pem", "C2PA-TSA-TRUST-LIST.pem"
OLD_ANCHORS, OLD_ALLOWED, OLD_PURPOSES = "anchors.pem", "allowed.pem", "store.cfg"
OLD_HASHES = "allowed.sha256.txt"
LARGEST = 8 << 20
"""Bytes of one list."""
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII
)
_HASH = re.compile(r"^[A-Za-z0-9+/]{43}=(?=\s*$)", re.ASCII | re.MULTILINE)
"""The SHA-256 of a certificate in base64, alone in its line."""


@dataclass(frozen=True)
class TrustLists:
    """Certificates as PEM text, "" where a list is missing.

    `signers` and `time_stampers`: the C2PA lists. `old_anchors`, `old_allowed`, `old_purposes`: the interim list of
    before 2026: roots, single signers (certificates or their SHA-256), and the key purposes (OIDs) that it takes.
    """

    signers: str = ""
    time_stampers: str = ""
    old_anchors: str = ""
    old_allowed: str = ""
    old_purposes: str = ""

    @property
    def has_old(self) -> bool:
        """True where an interim list is there to ask."""
        return bool(self.old_anchors or self.old_allowed)


@cache
def shipped_lists() -> TrustLists:
    """Return the lists that come with PixelSleuth."""
    return read_trust_lists(SHIPPED)


def read_trust_lists(folder: str | Path) -> TrustLists:
    """Return the lists of a folder, by the names under which they are published.

    `C2PA-TRUST-LIST.pem` and `C2PA-TSA-TRUST-LIST.pem` (conformance programme), `anchors.pem`, `allowed.pem` or
    `allowed.sha256.txt` and `store.cfg` (interim list); any of them may be missing. Raises UsageError where the folder
    names no signer.
    """
    place = Path(folder)
    lists = TrustLists(
        signers=_certificates(place / SIGNERS),
        time_stampers=_certificates(place / TIME_STAMPERS),
        old_anchors=_certificates(place / OLD_ANCHORS),
        old_allowed="\n".join(
            filter(None, (_certificates(place / OLD_ALLOWED), _hashes(place / OLD_HASHES)))
        ),
        old_purposes=_text(place / OLD_PURPOSES),
    )
    if not lists.signers and not lists.has_old:
        raise UsageError(
            f"{place} holds no trust list; put {SIGNERS} or {OLD_ANCHORS} with certificates (PEM) into it."
        )
    return lists


def _certificates(path: Path) -> str:
    return "\n".join(match[0] for match in _CERTIFICATE.finditer(_text(path)))


def _hashes(path: Path) -> str:
    return "\n".join(_HASH.findall(_text(path)))


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; choose another folder.") from None
    if len(raw) > LARGEST:
        raise UsageError(
            f"{path} is larger than {LARGEST >> 20} MiB and no trust list; choose another folder."
        )
    return raw.decode("utf-8", "replace")
