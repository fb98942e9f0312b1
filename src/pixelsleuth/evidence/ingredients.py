"""What went into a picture, by its manifests: a tree of ingredients, and the thumbnails that the manifests hold.

Input: the JSON of c2pa-rs, whose texts the signers wrote. Depth and number are bounded; manifests that name each other
in a circle end. Ingredients: C2PA specification 2.2, section 18.16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelsleuth.evidence.c2pa_report import (
    codes_under,
    faults_of,
    in_words,
    manifest_of,
    short,
    signer_of,
    tail,
)
from pixelsleuth.evidence.rubrics import Signals, mappings, signals_of

DEEPEST = 8
"""Levels of ingredients that are shown."""
MOST_INGREDIENTS = 64
"""Ingredients that are shown of one file."""
MOST_THUMBNAILS = 8
"""Thumbnails of ingredients that are shown of one file."""
MOST_PROBLEMS = 5
"""Problems that are named of one ingredient."""
RELATIONS = {
    "parentOf": "the version before", "componentOf": "a part", "inputTo": "an input to the making",
}  # fmt: skip

_GOOD = (".validated", ".match", ".trusted", ".insideValidity")
"""Ends of codes that say that something fits."""


class Ingredients:
    """The ingredients of a report, counted while they are laid out.

    `nodes`: a list of dictionaries with `title`, `relationship`, `format` as far as stated; `state`: "none" (no
    credentials), "missing" (named, but not in the file), "invalid" (they do not hold, see `problems`) or "valid" (they
    hold; by whom was not asked); where they are read also `signer`, `certificate`, `signed_at`, `software`, `declares`
    (in words), `inception` and `transformations` (signals of the rubrics), and `ingredients` of its own with
    `more_ingredients`, the number left out. `more`: the number left out of `nodes` itself.
    `thumbnails`: (caption, address in the report), in the order of the tree. `any_broken`: the credentials of an
    ingredient do not hold.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = report
        self.thumbnails: list[tuple[str, str]] = []
        self._left = MOST_INGREDIENTS
        self._shown: set[str] = set()
        self._signals: dict[str, tuple[Signals, Signals]] = {}
        results = report.get("validation_results")
        deltas = results.get("ingredientDeltas") if isinstance(results, Mapping) else None
        self._faults: dict[str, list[tuple[str, str]]] = {}
        for entry in deltas if isinstance(deltas, list) else []:
            if isinstance(entry, Mapping):
                faults = faults_of(codes_under(entry.get("validationDeltas"), "failure"))
                self._faults[tail(entry.get("ingredientAssertionURI"), 3)] = faults
        self.any_broken = any(self._faults.values())
        label = str(report.get("active_manifest"))
        self.nodes, self.more = self._tree(label, DEEPEST, (label,))

    def signals_of(self, label: str) -> tuple[Signals, Signals]:
        """Return (inceptions, transformations) that the manifest of this label declares by itself."""
        if label not in self._signals:
            self._signals[label] = signals_of(manifest_of(self.report, label))
        return self._signals[label]

    def parent(self, label: str) -> str | None:
        """Return the label of the version before, where it carries a manifest without faults."""
        for ingredient in mappings(manifest_of(self.report, label).get("ingredients")):
            inner = ingredient.get("active_manifest")
            if ingredient.get("relationship") == "parentOf" and isinstance(inner, str):
                known = bool(manifest_of(self.report, inner)) and not self._faults_of(label, ingredient)
                return inner if known else None
        return None

    def has_generated_parts(self, line: set[str]) -> bool:
        """True where a shown part beside the line of versions declares that AI made it or changed it."""
        telling = {"fullyGenAIMedia", "partlyGenAICreation", "perceptibleGenAI"}
        return any(
            telling & (inceptions.keys() | changes.keys())
            for inceptions, changes in map(self.signals_of, self._shown - line)
        )

    def _tree(self, label: str, depth: int, path: tuple[str, ...]) -> tuple[list[dict[str, Any]], int]:
        """The ingredients of a manifest, each with its own, and how many are left out; `path`: the labels above."""
        listed = manifest_of(self.report, label).get("ingredients")
        nodes: list[dict[str, Any]] = []
        for ingredient in mappings(listed):
            if self._left <= 0 or depth <= 0:
                break
            self._left -= 1
            nodes.append(self._node(label, ingredient, depth, path))
        return nodes, len(listed) - len(nodes) if isinstance(listed, list) else 0

    def _node(
        self, label: str, ingredient: Mapping[str, Any], depth: int, path: tuple[str, ...]
    ) -> dict[str, Any]:
        stated = ("title", "relationship", "format")
        node: dict[str, Any] = {key: short(ingredient[key]) for key in stated if ingredient.get(key)}
        faults = self._faults_of(label, ingredient)
        inner = ingredient.get("active_manifest")
        manifest = manifest_of(self.report, inner)
        node["state"] = (
            "none"
            if not isinstance(inner, str)
            else "missing"
            if not manifest
            else "invalid"
            if faults
            else "valid"
        )
        self.any_broken = self.any_broken or bool(faults)
        if faults:
            node["problems"] = [in_words(fault) for fault in faults[:MOST_PROBLEMS]]
        else:
            self._keep_thumbnail(node, ingredient, manifest)
        if isinstance(inner, str) and manifest and inner not in path:
            node |= self._inner(inner, depth, path, faulty=bool(faults))
        return node

    def _inner(self, label: str, depth: int, path: tuple[str, ...], *, faulty: bool) -> dict[str, Any]:
        inceptions, transformations = self.signals_of(label)
        if not faulty:
            self._shown.add(label)
        node: dict[str, Any] = dict(signer_of(manifest_of(self.report, label)))
        node["declares"] = [*inceptions.values(), *transformations.values()]
        node |= {"inception": list(inceptions), "transformations": list(transformations)}
        inner, more = self._tree(label, depth - 1, (*path, label))
        return node | ({"ingredients": inner} if inner else {}) | ({"more_ingredients": more} if more else {})

    def _keep_thumbnail(
        self, node: Mapping[str, Any], ingredient: Mapping[str, Any], manifest: Mapping[str, Any]
    ) -> None:
        for owner in (ingredient, manifest):
            thumbnail = owner.get("thumbnail")
            address = thumbnail.get("identifier") if isinstance(thumbnail, Mapping) else None
            if isinstance(address, str) and len(self.thumbnails) < MOST_THUMBNAILS:
                title = node.get("title", "without a title")
                relation = RELATIONS.get(node.get("relationship", ""), "")
                self.thumbnails.append((f"{title} ({relation})" if relation else title, address))
                return

    def _faults_of(self, label: str, ingredient: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What is wrong with an ingredient: as its user wrote down when it came in, and as it is found now."""
        recorded = ingredient.get("validation_results")
        then = codes_under(
            recorded.get("activeManifest") if isinstance(recorded, Mapping) else None, "failure"
        )
        # Of manifests of version 1: one list, in which good news may stand, too.
        old = codes_under({"failure": ingredient.get("validation_status")}, "failure")
        then += [entry for entry in old if not entry[0].endswith(_GOOD)]
        now = self._faults.get(f"{label}/c2pa.assertions/{ingredient.get('label')}", [])
        return list(dict.fromkeys([*now, *faults_of(then)]))
