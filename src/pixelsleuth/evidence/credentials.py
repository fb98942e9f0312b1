"""Content Credentials (C2PA): whether the signature in a file holds, who signed, and what the signer declares.

Read with c2pa-python, the reference implementation (extra `provenance`), in a process of its own. Nothing goes online:
remote manifests are not fetched, certificates are not asked after, and identities (CAWG), whose addresses a stranger
wrote, are not decoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pixelsleuth.errors import install_command
from pixelsleuth.evidence import c2pa_report, manifest_reader
from pixelsleuth.evidence.finding import Finding, Illustration, Strength
from pixelsleuth.evidence.manifest_thumbnails import thumbnails_of
from pixelsleuth.evidence.manifests import History, action_names, history_of
from pixelsleuth.evidence.trust_lists import TrustLists, shipped_lists

State = Literal[
    "trusted", "trusted_by_old_list", "not_recognised", "invalid", "remote_only", "unreadable", "not_examined"
]
LARGEST = 128 << 20
"""Bytes of a file that are searched and read."""
MOST_MANIFESTS = 1_000
"""Manifests of one file, earlier versions and parts included."""
MOST_PROBLEMS = 20
CAVEAT = "a signature says who declares it, not that it is true; most platforms remove it"

_STORE = bytes.fromhex("6332706100110010800000aa00389b71")
"""The type of a C2PA manifest store in JUMBF (C2PA specification 2.2, 11.1.4), the same in every picture format."""
_ELSEWHERE = b"dcterms:provenance"
"""The property of XMP that names a manifest which lies elsewhere."""
_OFFLINE: dict[str, Any] = {
    "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    # An identity assertion names a host; the library would look it up (measured: strace).
    "core": {
        "decode_identity_assertions": False,
        "allowed_network_hosts": [],
        "max_decompressed_manifest_size_in_mb": 16,
    },
}
_SIGNERS, _STAMPERS, _INTERIM = (
    f"urn:pixelsleuth:{name}" for name in ("signers", "time-stampers", "interim")
)
"""Names of the trust lists; the library says in which it found a signer."""
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
        with manifest_reader.opened(content, _settings(trust or shipped_lists())) as store:
            if store.report is None:
                return None
            report = _checked(store.report)
            history = history_of(report)
            sound = c2pa_report.is_valid(report)
            pictures = thumbnails_of(history.thumbnails, store.resource) if sound else ()
    except ImportError:
        statement = (
            "The file carries Content Credentials (C2PA) which were not examined; run in a clone of PixelSleuth: "
            + install_command("provenance")
        )
        return _finding("not_examined", statement)
    except manifest_reader.LimitError as limit:
        return _finding("unreadable", _unreadable(str(limit)), problems=[str(limit)])
    except (ValueError, RecursionError) as error:
        return _not_read(str(error))
    return _judged(report, history, pictures)


def _settings(trust: TrustLists) -> str:
    """The settings of the library: nothing online, and who is recognised."""
    interim = {
        "trust_anchors": trust.old_anchors,
        "allowed_list": trust.old_allowed,
        "trust_config": trust.old_purposes,
    }
    lists: list[dict[str, str]] = [
        {"trust_kind": "manifest", "trust_uri": _SIGNERS, "trust_anchors": trust.signers},
        {"trust_kind": "tsa", "trust_uri": _STAMPERS, "trust_anchors": trust.time_stampers},
        *([{"trust_kind": "manifest", "trust_uri": _INTERIM, **interim}] if trust.has_old else []),
        *([{"trust_kind": "tsa", "trust_uri": _INTERIM, **interim}] if trust.old_anchors else []),
    ]
    return json.dumps({**_OFFLINE, "trust": {"anchors": lists}})


def _checked(text: str) -> dict[str, Any]:
    """The report as a dictionary. Raises LimitError and ValueError."""
    report = json.loads(text)
    if not isinstance(report, dict):
        raise ValueError("the manifest store is no JSON object")
    listed = report.get("manifests")
    if isinstance(listed, dict) and len(listed) > MOST_MANIFESTS:
        raise manifest_reader.LimitError(f"it holds more than {MOST_MANIFESTS:,} manifests")
    return report


def _recognised(report: Mapping[str, Any]) -> State:
    """The state of a valid signature: in which list the library found its certificate, or the end of the chain.

    The library takes the anchors of every list for signers, also those of time stampers: what counts is the list that
    it names. For single signers, which only the interim list has, it names none: "[]".
    """
    words = c2pa_report.explanations_of(report, "success", "signingCredential.trusted")
    expired = c2pa_report.explanations_of(report, "failure", "signingCredential.expired")
    if expired or not words:
        return "not_recognised"
    if f"[{_SIGNERS}]" in words[0]:
        return "trusted"
    return "trusted_by_old_list" if f"[{_INTERIM}]" in words[0] or "[]" in words[0] else "not_recognised"


def _not_read(message: str) -> Finding:
    """The finding for a file that the library did not read; a manifest that lies elsewhere has its own state."""
    address = re.search(r"remote manifests? from url\s+\w+://([\w.-]+)", message)
    if address is None:
        return _finding("unreadable", _unreadable(""), problems=[c2pa_report.short(message)])
    host = c2pa_report.short(address[1], 80)
    statement = (
        f"The Content Credentials (C2PA) of this file lie elsewhere, at {host}, and were not fetched: "
        "nothing is known about them."
    )
    return _finding("remote_only", statement, host=host)


def _unreadable(reason: str) -> str:
    because = f": {reason}" if reason else ""
    return f"The file carries Content Credentials (C2PA) that cannot be read{because}. That is no sign of a forgery."


def _judged(report: Mapping[str, Any], history: History, pictures: tuple[Illustration, ...]) -> Finding:
    active = c2pa_report.active_of(report)
    signer = c2pa_report.signer_of(active)
    faults = c2pa_report.faults_of(c2pa_report.codes_of(report, "failure"))
    detail: dict[str, Any] = {**signer, "actions": action_names(active)}
    if history.ingredients:
        detail["ingredients"] = history.ingredients
    if history.more:
        detail["more_ingredients"] = history.more
    if any(str(entry.get("label", "")).startswith("cawg.identity") for entry in _assertions(active)):
        detail["identity"] = "an identity (CAWG) is named and was not checked: that needs the network"
    if not c2pa_report.is_valid(report):
        problems = [c2pa_report.in_words(fault) for fault in faults[:MOST_PROBLEMS]] or [
            "its signature was not found to hold"
        ]
        statement = (
            f"The Content Credentials (C2PA) of this file do not hold: {'; '.join(problems[:3])}. What they declare "
            "does not count."
        )
        if any(code.endswith("Hash.mismatch") for code, _ in faults):
            statement += " A program that saves the picture without signing it anew does that, too."
        return _finding("invalid", statement, problems=problems, **detail)
    state = _recognised(report)
    detail["inception"] = list(history.inceptions)
    detail["transformations"] = list(history.transformations)
    if history.meaning:
        detail["declares"] = history.meaning
    codes = [code for code, _ in c2pa_report.codes_of(report, "failure")]
    if "signingCredential.expired" in codes and state == "not_recognised":
        detail["note"] = (
            "the certificate has expired since, and no time stamp recognised here says when it was signed"
        )
    statement = f"{_who(state, signer)} {_what(history)}"
    return _finding(state, statement, pictures, tool=signer.get("software", ""), **detail)


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


def _finding(state: State, statement: str, pictures: tuple[Illustration, ...] = (), **detail: Any) -> Finding:
    kept = {key: value for key, value in detail.items() if value not in ("", [], None)}
    said = {"state": state, **kept, "caveat": CAVEAT}
    return Finding("c2pa", statement, _STRENGTHS[state], detail=said, pictures=pictures)
