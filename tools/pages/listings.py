"""What can be named: detectors, data sets, protocols, perturbations."""

from __future__ import annotations

from pathlib import Path

from tools.pages.generated import as_prose, table

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def models(argument: str) -> str:
    """The table of the detectors that `--model` knows by name."""
    del argument
    from pixelsleuth.core.detector import Capability
    from pixelsleuth.models.catalogue import shipped_specs
    from pixelsleuth.reporting.words import short_bytes, short_number

    rows = []
    for spec in shipped_specs():
        able = ", ".join(str(one) for one in Capability if one in spec.capabilities)
        size = "bundled" if spec.download_bytes == 0 else short_bytes(spec.download_bytes)
        light = spec.facts is not None and spec.facts.light
        extra = "" if light or not spec.extra else f"`{spec.extra}`"
        count = short_number(spec.parameters) if spec.parameters else ""
        rows.append((f"`{spec.name}`", spec.summary, able, count, size, extra, spec.licence or ""))
    return table(("name", "what it is", "can", "parameters", "download", "extra", "licence"), rows)


def baselines(argument: str) -> str:
    """The table of the baselines: what each was made for, its options, its files, where its weights come from."""
    del argument
    from pixelsleuth.models.facts import FACTS

    rows = []
    for facts in FACTS.values():
        options = "; ".join(f"`{key}`: {_choices(values)}" for key, values in facts.options.items())
        files = ", ".join(f"`{name}`" for name in facts.files)
        fetched = f"`pixelsleuth models get {facts.name}`" if facts.origins else as_prose(facts.where)
        rows.append((f"`{facts.name}`", str(facts.made_for), options, files, fetched))
    return table(("name", "made for", "options, the default first", "files of `--weights`", "weights"), rows)


def origins(argument: str) -> str:
    """The table of what `pixelsleuth models get` fetches."""
    del argument
    from pixelsleuth.models.catalogue import shipped_specs
    from pixelsleuth.reporting.words import short_bytes

    rows = []
    for spec in shipped_specs():
        if spec.origins:
            places = ", ".join(f"{one.repository} ({one.host})" for one in spec.origins)
            size = short_bytes(sum(one.bytes for one in spec.origins))
            pinned = all(one.pinned for one in spec.origins)
            commit = any(one.revision for one in spec.origins)
            known = "commit, SHA-256" if pinned else "commit" if commit else ""
            question = "" if spec.permissive else "`--accept-licence`"
            rows.append((f"`{spec.name}`", places, spec.licence or "", question, size, known))
    return table(("name", "from", "licence", "needs", "size", "known beforehand"), rows)


def _choices(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def data_sets(argument: str) -> str:
    """The table of the data sets that have a reader."""
    del argument
    from pixelsleuth.data.layouts import specs as reader_specs

    rows = [
        (f"`{spec.name}`", spec.title, spec.classes, spec.size, spec.licence, spec.get)
        for spec in reader_specs()
    ]
    return table(("reader", "data set", "classes", "size", "licence", "how to get it"), rows)


def reader_settings(argument: str) -> str:
    """The table of the readers' settings; readers that share one stand in one row."""
    del argument
    from pixelsleuth.data.layouts import specs as reader_specs

    shared: dict[tuple[str, str, str, str], list[str]] = {}
    for spec in reader_specs():
        for name, setting in spec.settings.items():
            key = (name, setting.default, ", ".join(setting.choices), setting.meaning)
            shared.setdefault(key, []).append(spec.name)
    rows = [
        (
            f"`{name}`",
            f"`{default}`",
            choices or "any text",
            meaning,
            ", ".join(f"`{one}`" for one in readers),
        )
        for (name, default, choices, meaning), readers in shared.items()
    ]
    return table(("setting", "default", "choices", "meaning", "readers"), rows)


def protocols(argument: str) -> str:
    """The protocols, each with its notes."""
    del argument
    from pixelsleuth.evaluation.protocols import PROTOCOLS

    rows = [
        (f"`{name}`", protocol.summary, _choices(protocol.own), " ".join(protocol.notes))
        for name, protocol in PROTOCOLS.items()
    ]
    return table(("protocol", "rules", "figures that it adds", "notes"), rows)


def perturbations(argument: str) -> str:
    """The perturbations as they are written, then the chains of platforms."""
    del argument
    from pixelsleuth.evaluation.perturbations import MAKERS, PLATFORMS

    rows = []
    for make in MAKERS.values():
        spec, _, says = " ".join((make.__doc__ or "").split()).partition("; ")
        rows.append((f"`{spec}`", says))
    rows += [(f"`platform:{name}`", f"`{chain}`") for name, chain in PLATFORMS.items()]
    return table(("spec", "what it does"), rows)


def tables(argument: str) -> str:
    """The recipes of published tables."""
    del argument
    from pixelsleuth.evaluation.recipes import read_recipe

    rows = []
    for path in sorted((RECIPES / "tables").glob("*.yaml")):
        recipe = read_recipe(path)
        rows.append((f"`recipes/tables/{path.name}`", recipe.title, f"`{recipe.protocol}`"))
    return table(("recipe", "table", "protocol"), rows)
