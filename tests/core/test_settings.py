"""Recipes are read one way: overrides reach inside, names that are not known get the nearest, types are kept."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelsleuth.core.errors import UsageError
from pixelsleuth.core.settings import LARGEST, fill, read_yaml


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
    "content, told",
    [
        ({"stpes": 1}, "no setting stpes; did you mean steps"),
        ({"rate": 1}, "did you mean inner.rate"),
        ({"inner": {"rte": 1}}, "no setting inner.rte; did you mean inner.rate"),
        ({"inner": 5}, "inner has settings of its own"),
        ({"steps": "many"}, "steps is 'many', which is no int"),
        ({"steps": True}, "no int"),
        ({"mode": "onn"}, "did you mean on"),
        ({"pair": [1]}, "takes 2 values"),
        ({"words": [["a"]]}, "no str"),
    ],
)
def test_what_does_not_fit_is_told_by_name(content: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fill(Outer, content)


@pytest.mark.parametrize(
    "text, told", [("- a\n", "holds no settings"), ("a: [", "is no YAML"), ("x" * (LARGEST + 1), "too large")]
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=told):
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
