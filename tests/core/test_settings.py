"""Recipes are read one way: overrides reach inside, names that are not known get the nearest, types are kept."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelsleuth.core.settings import LARGEST, Count, OneOf, Positive, Range, Share, choose, fill, read_yaml
from pixelsleuth.errors import UsageError


@dataclass(frozen=True)
class Inner:
    path: str = ""
    rate: float = 1e-4


@dataclass(frozen=True)
class Outer:
    steps: int = 1
    name: str | None = None
    mode: Literal["on", "off"] = "on"
    pair: tuple[float, float] = (0.9, 0.95)
    words: list[str] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    free: dict[str, Any] = field(default_factory=dict)


def test_overrides_lie_on_top_and_lead_inside(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("steps: 3\ninner: {path: a}\n")
    content = read_yaml(
        tmp_path / "r.yaml", ["inner.rate=1e-3", "mode=off", "many=[b, {path: c}]", "free.x.y=2"]
    )
    made = fill(Outer, content)
    assert (made.steps, made.inner, made.mode) == (3, Inner("a", 1e-3), "off")
    assert made.many == (Inner("b"), Inner("c"))
    assert made.free == {"x": {"y": 2}}


@pytest.mark.parametrize(
    "content, message",
    [
        ({"stpes": 1}, "no setting stpes; did you mean steps"),
        ({"rate": 1}, "did you mean inner.rate"),
        ({"inner": {"rte": 1}}, "no setting inner.rte; did you mean inner.rate"),
        ({"inner": 5}, "inner has settings of its own"),
        ({"steps": "many"}, "steps is 'many': it must be a whole number\\."),
        ({"steps": True}, "a whole number"),
        ({"mode": "onn"}, "did you mean on"),
        ({"pair": [1]}, "takes 2 values"),
        ({"words": [["a"]]}, "a text"),
        ({"free": 3}, "free is 3: it must be a mapping"),
        ({"steps": "9" * 1000}, r"steps is '9{99}\.\.\.: it"),
    ],
)
def test_what_does_not_fit_is_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fill(Outer, content)


@dataclass(frozen=True)
class Part:
    weight: Annotated[float, Range(above=0)] = 1.0


@dataclass(frozen=True)
class Bounded:
    title: str
    steps: Count = 1
    rate: Positive = 1e-4
    dropout: Annotated[float, Range(0, below=1)] = 0.0
    quality: tuple[Annotated[int, Range(1, 100)], ...] | None = (75, 95)
    modules: tuple[Annotated[str, OneOf({"fusion": 1, "clip": 2})], ...] = ()
    shares: dict[str, Share] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    limit: Annotated[int | None, Range(1)] = None


def test_values_within_their_bounds_are_taken() -> None:
    made = fill(
        Bounded,
        {
            "title": "t",
            "rate": "1e-3",
            "quality": [1, 100],
            "modules": "clip",
            "shares": {"a": 1},
            "limit": None,
        },
    )
    assert made == Bounded("t", rate=1e-3, quality=(1, 100), modules=("clip",), shares={"a": 1.0})


@pytest.mark.parametrize(
    "content, message",
    [
        ({"steps": 0}, r"^steps is 0: it must be at least 1\.$"),
        ({"rate": 0}, r"^rate is 0\.0: it must be above 0\.$"),
        ({"rate": ".nan"}, "a number"),
        ({"rate": float("nan")}, "above 0"),
        ({"dropout": 1}, r"dropout is 1\.0: it must be at least 0 and below 1\.$"),
        ({"quality": [75, 101]}, "quality is 101: it must be at least 1 and at most 100"),
        ({"modules": ["fusoin"]}, r"modules is 'fusoin'; did you mean fusion\?$"),
        ({"shares": {"splice": 2}}, r"shares\.splice is 2\.0: it must be at least 0 and at most 1"),
        ({"parts": [{"weight": -1}]}, r"parts\.weight is -1\.0: it must be above 0"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_a_value_outside_its_bounds_is_refused_with_them(content: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fill(Bounded, {"title": "t", **content})


def test_a_setting_without_a_default_must_be_there() -> None:
    with pytest.raises(UsageError, match="The setting title is missing"):
        fill(Bounded, {"steps": 2})


def test_a_text_for_a_nested_setting_is_held_to_the_type_of_its_first_field() -> None:
    with pytest.raises(UsageError, match=r"parts\.weight is 'heavy': it must be a number"):
        fill(Bounded, {"title": "t", "parts": ["heavy"]})


def test_options_by_name_are_texts_with_defaults() -> None:
    defaults, allowed = {"size": "native", "encoder": "clip"}, {"size": ("native", "224")}
    assert choose("NPR", {"size": 224, "encoder": "any"}, defaults, allowed) == {
        "size": "224",
        "encoder": "any",
    }
    with pytest.raises(UsageError, match="NPR has no option 'sise'; did you mean size"):
        choose("NPR", {"sise": "224"}, defaults, allowed)
    with pytest.raises(UsageError, match="NPR has no option 'size'; it has none"):
        choose("NPR", {"size": "224"}, {}, {})


@pytest.mark.parametrize(
    "text, message",
    [("- a\n", "holds no settings"), ("a: [", "is no YAML"), ("x" * (LARGEST + 1), "too large")],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_yaml(tmp_path / "r.yaml")
    with pytest.raises(UsageError, match="is not a file"):
        read_yaml(tmp_path)


@given(
    st.dictionaries(
        st.sampled_from(["steps", "name", "mode", "pair", "words", "inner", "many", "free", "x", 3]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab1.-", max_size=4),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner),
            max_leaves=5,
        ),
    )
)
def test_any_content_is_settings_or_a_sentence(content: dict[Any, Any]) -> None:
    with contextlib.suppress(UsageError):  # any other error fails the test
        fill(Outer, content)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text, message",
    [
        (BOMB, r"alias \(\*a, line 2\): write the value out"),
        ("a: &a {x: 1}\nb: {<<: *a}", "alias"),
        ("a: &a [*a]", "alias"),
        ("steps: " + "[" * 33 + "]" * 33, "32 levels"),
        ("[" * 100_000, "32 levels"),
        ("{a: " * 100_000, "32 levels"),
        ("\n".join(" " * i + f"k{i}:" for i in range(100)), "32 levels"),
        ("a: [" + "1," * 200_000 + "]", "100,000 values"),
        ("steps: " + "9" * 5000, "no YAML"),
        ("when: 2024-99-99", "no YAML"),
        ("a: !!python/object/apply:os.getcwd []", "no YAML"),
    ],
)
def test_a_recipe_that_would_unfold_without_end_is_refused_in_one_sentence(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_yaml(tmp_path / "r.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["a=&x [*x]", "a=" + "[" * 40 + "]" * 40, "a" + ".b" * 40 + "=1"])
def test_an_override_is_held_to_the_same(tmp_path, override):
    (tmp_path / "r.yaml").write_text("steps: 1")
    with pytest.raises(UsageError, match=r"alias|levels"):
        read_yaml(tmp_path / "r.yaml", [override])


def test_every_recipe_of_this_repository_is_read():
    recipes = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))
    assert recipes
    for recipe in recipes:
        assert isinstance(read_yaml(recipe), dict)


def test_yaml_is_read_in_one_place():
    """A loader elsewhere would have none of these bounds."""
    source = Path(__file__).parents[2] / "src"
    loaders = re.compile(r"yaml\.(safe_load|load|full_load|unsafe_load|SafeLoader|Loader)\b")
    files = {path.name for path in source.rglob("*.py") if loaders.search(path.read_text(encoding="utf-8"))}
    assert files == {"settings.py"}
