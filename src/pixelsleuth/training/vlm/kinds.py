"""Recipes of the vision-language models: what `kind:` names, how a recipe is read, and how it is carried out.

`pixelsleuth train` asks `kind_of`, and hands a recipe whose kind stands in `TRAINERS` to `carry_out`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pixelsleuth.core.errors import UsageError

TRAINERS = {
    "fakevlm": "pixelsleuth.training.vlm.fakevlm:run",
    "so_fake_r1": "pixelsleuth.training.vlm.so_fake:run",
}
"""`kind:` of a recipe, and its function `run(config, out, resume)`, which returns the folder of the model."""


def kind_of(path: Path) -> str | None:
    """The recipe's kind where it is one of TRAINERS, else None. Raises UsageError where it is no YAML mapping."""
    kind = _content(path).get("kind")
    if kind is None:
        return None
    if kind not in TRAINERS:
        raise UsageError(f"{path}: there is no training of kind {kind!r}; known are {', '.join(TRAINERS)}.")
    return str(kind)


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The recipe with `key=value` put in (nested keys with dots, values as YAML).

    Raises:
        UsageError: no such file, an override without a value, or one of a key that the recipe does not have.
    """
    import yaml

    config = _content(path)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise UsageError(f"{override!r} is no KEY=VALUE.")
        place: Any = config
        *parents, last = key.split(".")
        for name in parents:
            place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = list(place) if isinstance(place, dict) else list(config)
            close = difflib.get_close_matches(last, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}."
            raise UsageError(f"{path} has no setting {key!r}; {hint}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        # YAML reads 1e-5 as text: a number is meant where a number stood.
        if isinstance(place[last], float) and isinstance(value, str):
            value = _number(value, key)
        place[last] = value
    return config


def carry_out(path: Path, overrides: Sequence[str] = (), *, resume: bool = False) -> Path:
    """Carry out a recipe and return the folder of the trained model.

    Raises:
        UsageError: the recipe is wrong, or `out` already holds a training and `resume` is not set.
    """
    config = read_recipe(path, overrides)
    kind = kind_of(path)
    if kind is None:
        raise UsageError(f"{path} names no kind; known are {', '.join(TRAINERS)}.")
    for name in ("data", "out"):
        if not config.get(name):
            raise UsageError(f"{path}: {name} is not given: write {name}=PATH behind the recipe.")
    out = Path(str(config["out"]))
    if (out / "log.jsonl").exists() and not resume:
        raise UsageError(f"{out} holds a training: go on with --resume, or name another folder.")
    out.mkdir(parents=True, exist_ok=True)
    module, _, function = TRAINERS[kind].partition(":")
    result: Path = getattr(import_module(module), function)(config, out, resume)
    return result


def plan(path: Path, overrides: Sequence[str] = ()) -> str:
    """The recipe as it would be carried out, as YAML; nothing is loaded. Raises UsageError."""
    import yaml

    return str(yaml.safe_dump(read_recipe(path, overrides), sort_keys=False)).rstrip()


def settings(given: Mapping[str, Any] | None, defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`defaults` with what is given put in. Raises UsageError for an unknown key or a value of another type."""
    merged = dict(defaults)
    for key, value in (given or {}).items():
        if key not in defaults:
            close = difflib.get_close_matches(str(key), defaults, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(defaults)}."
            raise UsageError(f"{what} has no setting {key!r}; {hint}")
        standard = defaults[key]
        if isinstance(standard, float) and not isinstance(value, bool) and isinstance(value, int | str):
            value = _number(value, key)
        if standard is not None and value is not None and type(value) is not type(standard):
            raise UsageError(f"{what}.{key} is {value!r}; {type(standard).__name__} is wanted.")
        merged[key] = value
    return merged


def _number(value: Any, key: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{key} is {value!r}; a number is wanted.") from None


def _content(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise UsageError(f"{path} is not a file: name a recipe, such as recipes/tiny.yaml.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML ({str(error).splitlines()[0]}).") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no recipe: a mapping of settings is wanted.")
    return content
