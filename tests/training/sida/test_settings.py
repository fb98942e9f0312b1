"""A recipe says what is trained; what it must not say is refused in a sentence, before anything heavy is loaded."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelsleuth.errors import UsageError
from pixelsleuth.training.run.settings import differences, to_dict
from pixelsleuth.training.sida.settings import SidaSettings, ensure_consistent, from_dict, read_settings

ROOT = Path(__file__).resolve().parents[3]
RECIPES = [ROOT / "recipes/tiny.yaml", *sorted((ROOT / "recipes/sida").glob("*_stage?.yaml"))]
RECIPES += sorted((ROOT / "recipes/sida/ablations").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_sound_and_survives_json(recipe: Path) -> None:
    config = read_settings(recipe, ["data=m.csv", "out=runs/x", "start=folder"])
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_the_recipes_hold_the_papers_values() -> None:
    for size in ("7b", "13b"):
        config = read_settings(ROOT / f"recipes/sida/{size}_stage1.yaml", ["data=m.csv", "out=x"])
        assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (8, 16, 0.05)
        assert config.lora.targets == ("q_proj", "v_proj")
        how = config.optimiser
        assert (how.learning_rate, how.betas, how.warmup, how.clip) == (1e-4, (0.9, 0.95), 100, 1.0)
        assert (config.weights.bce, config.weights.dice, config.weights.text) == (2.0, 0.5, 0.0)
        assert "lm_head" not in config.full
    assert "LISA-7B" in read_settings(ROOT / "recipes/sida/7b_stage1.yaml", ["data=m", "out=x"]).start


@pytest.mark.parametrize(
    "override,message",
    [
        ("stpes=3", "did you mean steps"),
        ("lora.rnak=3", "no setting lora.rnak; did you mean lora.rank"),
        ("rank=3", "did you mean lora.rank"),
        ("steps=many", "steps is 'many': it must be a whole number"),
        ("steps=true", "a whole number"),
        ("steps=0", "at least 1"),
        ("batches=mixd", "did you mean mixed"),
        ("full=[fusoin]", "did you mean fusion"),
        ("nonsense", "write key=value"),
        ("optimiser.betas=[0.9]", "takes 2 values"),
        ("optimiser.learning_rate=-1", "above 0"),
        ("frozen=bf16", "frozen=fp32"),
        ("parallel=fsdp precision=fp16", "not with fp16"),
        ("sam_cache=cache", "equalise=fixed"),
        ("validation.every=5", "validation.hold_out"),
        ("weights.mask=-1", "weights.mask is -1.0: it must be at least 0"),
        ("data=", "names no data"),
        ("steps=[", "is no YAML"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        read_settings(ROOT / "recipes/tiny.yaml", ["data=m.csv", "out=x", *override.split()])


def test_overrides_reach_nested_settings_and_off_is_a_word() -> None:
    own = [
        "data=[{path: a, weight: 2}, b]",
        "out=1",
        "lora.rank=2",
        "equalise=off",
        "optimiser.learning_rate=1e-3",
    ]
    config = read_settings(ROOT / "recipes/tiny.yaml", own)
    assert [(source.path, source.weight) for source in config.data] == [("a", 2.0), ("b", 1.0)]
    assert (config.out, config.lora.rank, config.equalise, config.optimiser.learning_rate) == (
        "1",
        2,
        "off",
        1e-3,
    )


def test_only_what_decides_the_result_counts_as_different() -> None:
    before = to_dict(SidaSettings(out="a", workers=1))
    assert differences(before, to_dict(SidaSettings(out="b", workers=2))) == []
    assert differences(before, to_dict(SidaSettings(seed=4))) == ["seed"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            ["steps", "data", "lora", "weights", "full", "precision", "validation", "random", "x"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab1.-", max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=5), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    )
)
def test_any_content_is_a_configuration_or_a_sentence(content: dict) -> None:
    with contextlib.suppress(UsageError):  # any other error fails the test
        ensure_consistent(from_dict(content))
