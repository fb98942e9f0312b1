"""What a manifest store says once a library has checked it: its state, what is wrong, and its history.

Input: the JSON of c2pa-rs (`manifests`, `active_manifest`, `validation_results`), whose texts the signer wrote. Status
codes: C2PA specification 2.2, section 15. Everything is bounded; manifests that name each other in a circle end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pixelsleuth.evidence.rubrics import Signals, actions_of, has_edits, mappings, meaning_of, signals_of
from pixelsleuth.evidence.vocabulary import Meaning

DEEPEST = 8
"""Levels of ingredients that are shown."""
MOST_INGREDIENTS = 64
"""Ingredients that are shown of one file."""
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


@dataclass(frozen=True)
class History:
    """What a manifest and those before it declare together.

    `meaning`: as `vocabulary.Meaning`, "" where nothing is declared. `ingredients` are dictionaries, nested; `more` is
    True where some were left out. `generated_parts`: a part beside the line of versions declares AI.
    `broken_parts`: the credentials of an ingredient do not hold.
    """

    inceptions: Signals = field(default_factory=dict)
    transformations: Signals = field(default_factory=dict)
    meaning: Meaning | Literal[""] = ""
    ingredients: list[dict[str, Any]] = field(default_factory=list)
    more: bool = False
    generated_parts: bool = False
    broken_parts: bool = False


def codes_of(report: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """Return (code, what it is about) of the active manifest; `kind` is success, informational or failure."""
    results = report.get("validation_results")
    active = results.get("activeManifest") if isinstance(results, Mapping) else None
    return list(_codes(active.get(kind) if isinstance(active, Mapping) else None))


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
    return _manifest(report, report.get("active_manifest"))


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


def history_of(report: Mapping[str, Any]) -> History:
    """Return what the active manifest and its ingredients declare.

    The line of versions (`parentOf`) is followed back to the beginning, as long as each version is valid; components
    are shown in the tree alone.
    """
    walk = _Walk(report)
    label = str(report.get("active_manifest"))
    tree = walk.tree(label, DEEPEST, (label,))
    inceptions, transformations = signals_of(active_of(report))
    listed = has_edits(active_of(report))
    line = {label}
    while (parent := walk.parent(label)) is not None and parent not in line:
        line.add(parent)
        label, manifest = parent, _manifest(report, parent)
        before, changes = signals_of(manifest)
        inceptions = {
            **before,
            **{key: word for key, word in inceptions.items() if key != "mediaUnknownProvenance"},
        }
        transformations = {**transformations, **changes}
        listed = listed or has_edits(manifest)
    meaning = meaning_of(inceptions, transformations, listed=listed)
    parts = walk.generated_parts(line)
    return History(inceptions, transformations, meaning, tree, walk.more, parts, any(walk.faults.values()))


class _Walk:
    """One way through the ingredients of a report, counting them."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = report
        self.left = MOST_INGREDIENTS
        self.more = False
        self.shown: set[str] = set()
        results = report.get("validation_results")
        deltas = results.get("ingredientDeltas") if isinstance(results, Mapping) else None
        self.faults = {
            _tail(entry.get("ingredientAssertionURI"), 3): _delta_faults(entry) for entry in mappings(deltas)
        }

    def tree(self, label: str, depth: int, path: tuple[str, ...]) -> list[dict[str, Any]]:
        """The ingredients of a manifest, each with its own; `path` holds the labels above."""
        nodes = []
        for ingredient in mappings(_manifest(self.report, label).get("ingredients")):
            if self.left <= 0 or depth <= 0:
                self.more = True
                break
            self.left -= 1
            node: dict[str, Any] = {
                key: short(ingredient[key])
                for key in ("title", "relationship", "format")
                if ingredient.get(key)
            }
            faults = self._faults(label, ingredient)
            inner = ingredient.get("active_manifest")
            if isinstance(inner, str) and inner not in path and _manifest(self.report, inner):
                node |= self._inner(inner, depth, path, faulty=bool(faults))
            if faults:
                node["problems"] = [in_words(fault) for fault in faults]
            nodes.append(node)
        return nodes

    def _inner(self, label: str, depth: int, path: tuple[str, ...], *, faulty: bool) -> dict[str, Any]:
        manifest = _manifest(self.report, label)
        inceptions, transformations = signals_of(manifest)
        if not faulty:
            self.shown.add(label)
        node: dict[str, Any] = dict(signer_of(manifest))
        node["declares"] = [*inceptions.values(), *transformations.values()]
        inner = self.tree(label, depth - 1, (*path, label))
        return node | ({"ingredients": inner} if inner else {})

    def parent(self, label: str) -> str | None:
        """The label of the version before, where it carries a manifest without faults."""
        for ingredient in mappings(_manifest(self.report, label).get("ingredients")):
            inner = ingredient.get("active_manifest")
            if ingredient.get("relationship") == "parentOf" and isinstance(inner, str):
                known = bool(_manifest(self.report, inner)) and not self._faults(label, ingredient)
                return inner if known else None
        return None

    def generated_parts(self, line: set[str]) -> bool:
        """True where a shown part beside the line of versions declares that AI made it or changed it."""
        return any(
            {"fullyGenAIMedia", "partlyGenAICreation", "perceptibleGenAI"}
            & (inceptions.keys() | changes.keys())
            for inceptions, changes in (
                signals_of(_manifest(self.report, label)) for label in self.shown - line
            )
        )

    def _faults(self, label: str, ingredient: Mapping[str, Any]) -> list[tuple[str, str]]:
        return self.faults.get(f"{label}/c2pa.assertions/{ingredient.get('label')}", [])


def action_names(manifest: Mapping[str, Any], most: int = 20) -> list[str]:
    """Return the names of the listed actions in their order, at most `most`."""
    return [short(action.get("action", ""), 60) for action in actions_of(manifest)][:most]


def short(value: Any, length: int = SHORT) -> str:
    """Return a text of the signer, shortened, in one line."""
    text = " ".join(str(value)[: 4 * length].split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _manifest(report: Mapping[str, Any], label: Any) -> Mapping[str, Any]:
    manifests = report.get("manifests")
    manifest = manifests.get(label) if isinstance(manifests, Mapping) and isinstance(label, str) else None
    return manifest if isinstance(manifest, Mapping) else {}


def _delta_faults(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    deltas = entry.get("validationDeltas")
    return faults_of(list(_codes(deltas.get("failure") if isinstance(deltas, Mapping) else None)))


def _codes(entries: Any) -> Iterator[tuple[str, str]]:
    for entry in mappings(entries):
        yield short(entry.get("code", ""), 60), short(_tail(entry.get("url"), 1), 60)


def _tail(uri: Any, parts: int) -> str:
    """The last parts of a JUMBF address: `self#jumbf=/c2pa/LABEL/c2pa.assertions/NAME`."""
    return "/".join(str(uri or "").split("/")[-parts:])
