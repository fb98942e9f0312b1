"""Content Credentials (C2PA): whether the signature in a file holds, who signed, and what the signer declares.

Read with c2pa-python, the reference implementation (extra `provenance`). Nothing goes online: remote manifests are not
fetched, certificates are not asked after, and identities (CAWG), whose addresses a stranger wrote, are not decoded.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pixelsleuth.errors import install_command
from pixelsleuth.evidence import manifests
from pixelsleuth.evidence.finding import Finding, Strength
from pixelsleuth.evidence.manifests import History
from pixelsleuth.evidence.trust_lists import TrustLists, shipped_lists

State = Literal[
    "trusted", "trusted_by_old_list", "not_recognised", "invalid", "remote_only", "unreadable", "not_examined"
]
LARGEST = 128 << 20
"""Bytes of a file that are searched and read."""
CAVEAT = "a signature says who declares it, not that it is true; most platforms remove it"

_STORE = bytes.fromhex("6332706100110010800000aa00389b71")
"""The type of a C2PA manifest store in JUMBF (C2PA specification 2.2, 11.1.4), the same in every picture format."""
_ELSEWHERE = b"dcterms:provenance"
"""The property of XMP that names a manifest which lies elsewhere."""
_OFFLINE: dict[str, Any] = {
    "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    # An identity assertion names a host; the library would look it up (measured: strace).
    "core": {"decode_identity_assertions": False, "allowed_network_hosts": []},
}
_STRENGTHS: dict[State, Strength] = {
    "trusted": "shows", "trusted_by_old_list": "shows", "not_recognised": "declares", "invalid": "shows",
    "remote_only": "hints", "unreadable": "hints", "not_examined": "hints",
}  # fmt: skip


def credentials_finding(data: memoryview, trust: TrustLists | None = None) -> Finding | None:
    """Return what the Content Credentials in the bytes of a picture file say; None where it carries none.

    `trust`: whose signatures are recognised, the shipped lists where None. Strength: a recognised or a broken signature
    *shows*, an unknown signer *declares*, what was not read *hints*.
    """
    content = bytes(data[:LARGEST])
    if _STORE not in content and _ELSEWHERE not in content:
        return None
    if len(data) > LARGEST:
        reason = f"files above {LARGEST >> 20} MiB are not read"
        return _finding("unreadable", _unreadable(reason), problems=[reason])
    try:
        import c2pa
    except ImportError:
        statement = (
            "The file carries Content Credentials (C2PA) which were not examined; run in a clone of PixelSleuth: "
            + install_command("provenance")
        )
        return _finding("not_examined", statement)
    trust = trust or shipped_lists()
    try:
        report = _report(content, _settings(trust.anchors))
        if report is None:
            return None
        recognised: State | None = "trusted" if _is_trusted(report) else None
        if recognised is None and trust.has_old:
            old = _report(content, _settings(trust.old_anchors, trust.old_allowed, trust.old_purposes))
            recognised = "trusted_by_old_list" if old is not None and _is_trusted(old) else None
    except c2pa.C2paError as error:
        return _not_read(str(error))
    except (ValueError, RecursionError, OSError) as error:
        return _not_read(str(error))
    return _judged(report, recognised)


def _settings(anchors: str, allowed: str = "", purposes: str = "") -> str:
    trust = {"trust_anchors": anchors, "allowed_list": allowed, "trust_config": purposes}
    return json.dumps({**_OFFLINE, "trust": {key: text for key, text in trust.items() if text}})


@lru_cache(maxsize=4)
def _context(settings: str) -> Any:
    from c2pa import Context

    return Context.from_json(settings)


def _report(content: bytes, settings: str) -> dict[str, Any] | None:
    """What the library says of a file, as a dictionary; None where it finds no manifest. Raises C2paError."""
    from c2pa import Reader

    reader = Reader.try_create(None, io.BytesIO(content), context=_context(settings))
    if reader is None:
        return None
    with reader:
        report = json.loads(reader.json())
    if not isinstance(report, dict):
        raise ValueError("the manifest store is no JSON object")
    return report


def _is_trusted(report: Mapping[str, Any]) -> bool:
    """True where the chain of the signer's certificate ends in the list."""
    codes = [code for code, _ in manifests.codes_of(report, "success")]
    broken = [code for code, _ in manifests.codes_of(report, "failure")]
    return "signingCredential.trusted" in codes and "signingCredential.expired" not in broken


def _not_read(message: str) -> Finding:
    """The finding for a file that the library did not read; a manifest that lies elsewhere has its own state."""
    address = re.search(r"remote manifests? from url\s+\w+://([\w.-]+)", message)
    if address is None:
        return _finding("unreadable", _unreadable(""), problems=[manifests.short(message)])
    host = manifests.short(address[1], 80)
    statement = (
        f"The Content Credentials (C2PA) of this file lie elsewhere, at {host}, and were not fetched: "
        "nothing is known about them."
    )
    return _finding("remote_only", statement, host=host)


def _unreadable(reason: str) -> str:
    because = f": {reason}" if reason else ""
    return f"The file carries Content Credentials (C2PA) that cannot be read{because}. That is no sign of a forgery."


def _judged(report: Mapping[str, Any], recognised: State | None) -> Finding:
    active = manifests.active_of(report)
    signer = manifests.signer_of(active)
    faults = manifests.faults_of(manifests.codes_of(report, "failure"))
    history = manifests.history_of(report)
    detail: dict[str, Any] = {**signer, "actions": manifests.action_names(active)}
    if history.ingredients:
        detail["ingredients"] = history.ingredients
    if history.more:
        detail["more_ingredients"] = True
    if any(str(entry.get("label", "")).startswith("cawg.identity") for entry in _assertions(active)):
        detail["identity"] = "an identity (CAWG) is named and was not checked: that needs the network"
    if not manifests.is_valid(report):
        problems = [manifests.in_words(fault) for fault in faults] or ["its signature was not found to hold"]
        statement = (
            f"The Content Credentials (C2PA) of this file do not hold: {'; '.join(problems[:3])}. What they declare "
            "does not count."
        )
        if any(code.endswith("Hash.mismatch") for code, _ in faults):
            statement += " A program that saves the picture without signing it anew does that, too."
        return _finding("invalid", statement, problems=problems, **detail)
    state: State = recognised or "not_recognised"
    detail["inception"] = list(history.inceptions)
    detail["transformations"] = list(history.transformations)
    if history.meaning:
        detail["declares"] = history.meaning
    codes = [code for code, _ in manifests.codes_of(report, "failure")]
    if "signingCredential.expired" in codes and state == "not_recognised":
        detail["note"] = (
            "the certificate has expired since, and no time stamp recognised here says when it was signed"
        )
    return _finding(
        state, f"{_who(state, signer)} {_what(history)}", tool=signer.get("software", ""), **detail
    )


def _who(state: State, signer: Mapping[str, str]) -> str:
    name = signer.get("signer") or signer.get("certificate") or "an unnamed signer"
    day = f" on {signer['signed_at'][:10]}" if "signed_at" in signer else ""
    unchanged = "Content Credentials (C2PA): the file is unchanged since"
    if state == "trusted":
        return f"{unchanged} {name} signed it{day}; the C2PA trust list knows the signer."
    if state == "trusted_by_old_list":
        return f"{unchanged} {name} signed it{day}; the interim trust list of before 2026 knows the signer."
    return (
        f"{unchanged} it was signed{day}. The signature names {name}, whom no trust list here knows: anybody may have "
        "signed in that name. That is no sign of a forgery."
    )


def _what(history: History) -> str:
    words = [*history.inceptions.values(), *history.transformations.values()]
    declared = (
        f"The signer declares: {'; '.join(words)}."
        if words
        else "The signer declares nothing about its making."
    )
    if history.generated_parts:
        declared += " A part of it declares that AI made or changed it."
    if history.broken_parts:
        declared += (
            " The credentials of something that went into it do not hold; what they declare does not count."
        )
    return declared


def _assertions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = manifest.get("assertions")
    return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []


def _finding(state: State, statement: str, **detail: Any) -> Finding:
    kept = {key: value for key, value in detail.items() if value not in ("", [], None)}
    return Finding("c2pa", statement, _STRENGTHS[state], detail={"state": state, **kept, "caveat": CAVEAT})
