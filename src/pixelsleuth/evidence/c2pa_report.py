"""The report of c2pa-rs on a manifest store, as JSON gives it: status codes and their words, manifests, signers.

Its texts are the signers' own. Status codes: C2PA specification 2.2, section 15. Everything is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelsleuth.evidence.rubrics import mappings

SHORT = 120
"""Characters of a text that the signer wrote."""

_NO_FAULT = ("signingCredential.untrusted", "signingCredential.expired", "timeStamp.", "cawg.")
"""Codes that say nothing against the content: nobody here knows the signer or his clock, or his name was not asked."""
_WORDS = {
    "assertion.dataHash.mismatch": "the content of the file is not the one that was signed",
    "assertion.bmffHash.mismatch": "the content of the file is not the one that was signed",
    "assertion.boxesHash.mismatch": "the content of the file is not the one that was signed",
    "assertion.hashedURI.mismatch": "a part of the manifest was changed after it was signed",
    "assertion.missing": "a part of the manifest is missing",
    "assertion.undeclared": "the manifest holds a part that was not signed",
    "claimSignature.mismatch": "the signature does not fit",
    "claimSignature.missing": "the signature is missing",
    "claimSignature.outsideValidity": "it was signed outside the time for which the certificate holds",
    "claim.missing": "the signed claim is missing",
    "claim.hardBindings.missing": "nothing ties the manifest to this content",
    "signingCredential.invalid": "the certificate may not sign such claims",
    "signingCredential.revoked": "the certificate was revoked",
    "algorithm.unsupported": "it was signed with an algorithm that is not permitted",
    "manifest.inaccessible": "the manifest cannot be reached",
}


def codes_of(report: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """Return (code, what it is about) of the active manifest; `kind` is success, informational or failure."""
    results = report.get("validation_results")
    return codes_under(results.get("activeManifest") if isinstance(results, Mapping) else None, kind)


def explanations_of(report: Mapping[str, Any], kind: str, code: str) -> list[str]:
    """Return what the library says to a code of the active manifest, in its own words."""
    results = report.get("validation_results")
    active = results.get("activeManifest") if isinstance(results, Mapping) else None
    return [str(entry.get("explanation")) for entry in _entries(active, kind) if entry.get("code") == code]


def faults_of(codes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those codes that make a manifest invalid, each once."""
    return [entry for entry in dict.fromkeys(codes) if not entry[0].startswith(_NO_FAULT)]


def is_valid(report: Mapping[str, Any]) -> bool:
    """True where signature and content fit and nothing speaks against them; who signed is another question."""
    signed = any(code == "claimSignature.validated" for code, _ in codes_of(report, "success"))
    return signed and not faults_of(codes_of(report, "failure"))


def in_words(fault: tuple[str, str]) -> str:
    """Return what is wrong, in words, with the part of the manifest that it is about.

    >>> in_words(("assertion.hashedURI.mismatch", "c2pa.actions"))
    'a part of the manifest was changed after it was signed (c2pa.actions)'
    """
    code, part = fault
    words = _WORDS.get(code, f"it breaks a rule of the format: {code}")
    about = part if part and not part.startswith(("c2pa.hash.", "c2pa.signature")) else ""
    return f"{words} ({about})" if about else words


def active_of(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the active manifest, empty where there is none."""
    return manifest_of(report, report.get("active_manifest"))


def signer_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return `signer`, `certificate`, `signed_at` and `software` as far as they are stated, shortened."""
    info = manifest.get("signature_info")
    info = info if isinstance(info, Mapping) else {}
    named = next(mappings(manifest.get("claim_generator_info")), {})
    software = " ".join(str(named[key]) for key in ("name", "version") if named.get(key))
    values = {
        "signer": info.get("issuer"),
        "certificate": info.get("common_name"),
        "signed_at": info.get("time"),
        "software": software or manifest.get("claim_generator"),
    }
    return {key: short(value) for key, value in values.items() if value}


def short(value: Any, length: int = SHORT) -> str:
    """Return a text of the signer, shortened, in one line, without control characters.

    >>> short("a\\n b\\x1b[31m")
    'a b [31m'
    """
    text = str(value)[: 4 * length]
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def manifest_of(report: Mapping[str, Any], label: Any) -> Mapping[str, Any]:
    """Return the manifest of a label, empty where there is none."""
    manifests = report.get("manifests")
    manifest = manifests.get(label) if isinstance(manifests, Mapping) and isinstance(label, str) else None
    return manifest if isinstance(manifest, Mapping) else {}


def codes_under(results: Any, kind: str) -> list[tuple[str, str]]:
    """Return (code, what it is about) in one block of results; `kind` is success, informational or failure."""
    return [
        (short(entry.get("code", ""), 60), short(tail(entry.get("url"), 1), 60))
        for entry in _entries(results, kind)
    ]


def _entries(results: Any, kind: str) -> list[Mapping[str, Any]]:
    """All of them: whoever could push a fault beyond a limit would hide it."""
    entries = results.get(kind) if isinstance(results, Mapping) else None
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def tail(uri: Any, parts: int) -> str:
    """Return the last parts of a JUMBF address: `self#jumbf=/c2pa/LABEL/c2pa.assertions/NAME`."""
    return "/".join(str(uri or "").split("/")[-parts:])
