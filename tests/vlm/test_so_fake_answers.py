"""So-Fake-R1's answers: printed ones, broken ones, boxes between frame and picture, and the rewards on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models.so_fake_r1 import rewards
from pixelsleuth.models.so_fake_r1.answers import (
    box_iou,
    follows_grammar,
    follows_tags,
    read,
    to_frame,
    to_picture,
    write,
)
from pixelsleuth.models.so_fake_r1.rewards import Truth, box_distance, rewards_of, share

PRINTED = [  # the forms that the authors print, with thoughts of our own
    ("<think> A dog on grass. Clues: even light. </think><answer>REAL</answer>", Label.REAL, None),
    ("<think> A face. Indicators: waxy skin. </think><answer>FULL_SYNTHETIC</answer>", Label.FULL_SYNTHETIC, None),
    (
        "<think> A man; tampered area is (68,0),(223,223). </think><answer>TAMPERED,(68,0),(223,223).</answer>",
        Label.TAMPERED, (68, 0, 223, 223),
    ),
    ("<think> A cup on a table. </think><answer>TAMPERED,(0,4),(213,205).</answer>", Label.TAMPERED, (0, 4, 213, 205)),
    (
        "<think> A cat with blurred edges. </think><answer>TAMPERED,(45,13),(160,208)</answer>",
        Label.TAMPERED, (45, 13, 160, 208),
    ),
]  # fmt: skip
BROKEN = [
    ("", None, None),
    ("REAL", Label.REAL, None),
    ("The picture is tampered at (10, 20), (30, 40)", Label.TAMPERED, (10, 20, 30, 40)),
    ("<think>never closed <answer>REAL</answer>", Label.REAL, None),
    ("<think>REAL</think><answer>TAMP", None, None),
    ("<think>x</think><answer>TAMPERED,(1,2),(3", Label.TAMPERED, None),
    ("<answer>REAL</answer><answer>full synthetic</answer>", Label.FULL_SYNTHETIC, None),
    ("<answer>REAL or TAMPERED</answer>", None, None),
    ("<answer>not REAL, TAMPERED,(9,8),(7,6)</answer>", Label.TAMPERED, (7, 6, 9, 8)),
    ("<answer>TAMPERED,(200,200),(400,300)</answer>", Label.TAMPERED, (200, 200, 223, 223)),
    ("<answer>TAMPERED,(300,300),(400,400)</answer>", Label.TAMPERED, None),
    ("<answer>TAMPERED,(-9,-9),(5,5)</answer>", Label.TAMPERED, (0, 0, 5, 5)),
    ("<answer>TAMPERED [1, 2, 3, 4]</answer>", Label.TAMPERED, (1, 2, 3, 4)),
    ("<answer>REAL,(1,2),(3,4)</answer>", Label.REAL, None),
    ("<think>这是真的</think><answer>真实</answer>", None, None),
    ("<answer>UNREAL REALISTIC</answer>", None, None),
]


@pytest.mark.parametrize("text, label, box", PRINTED + BROKEN)
def test_answers_read(text: str, label: Label | None, box: tuple[float, ...] | None) -> None:
    reading = read(text)
    assert reading.label is label
    assert reading.box == box


def test_printed_answers_follow_the_grammar_and_broken_ones_do_not() -> None:
    assert all(follows_tags(text) and follows_grammar(text) for text, _, _ in PRINTED)
    assert not any(follows_tags(text) and follows_grammar(text) for text, _, _ in BROKEN)


@given(st.text(max_size=400))
@example("<answer>" * 50)
@example("(" * 200)
@example("<answer>TAMPERED,(999999,999999),(-999999,-999999)")
def test_no_text_breaks_the_reading(text: str) -> None:
    reading = read(text)
    if reading.box is not None:
        x1, y1, x2, y2 = reading.box
        assert 0 <= x1 <= x2 <= 223
        assert 0 <= y1 <= y2 <= 223
        assert reading.label is Label.TAMPERED
    for truth in (Truth(Label.REAL), Truth(Label.TAMPERED, (1, 2, 30, 40)), Truth(Label.TAMPERED)):
        parts = rewards_of(text, truth, dict.fromkeys(list(rewards.REWARDS)[:7], 1.0))
        assert all(value is None or 0 <= value <= 1 for value in parts.values())


side = st.integers(0, 223)
boxes = st.tuples(side, side, side, side).map(
    lambda b: (float(min(b[0], b[2])), float(min(b[1], b[3])), float(max(b[0], b[2])), float(max(b[1], b[3])))
)


@given(st.sampled_from(list(Label)), boxes, st.text(st.characters(codec="utf-8"), max_size=60))
def test_what_is_written_reads_back_and_earns_every_reward(label: Label, box: tuple, thought: str) -> None:
    text = write(label, box, f"Odd light here. {thought}")
    reading = read(text)
    assert reading.label is label
    assert reading.box == (box if label is Label.TAMPERED else None)
    truth = Truth(label, box if label is Label.TAMPERED else None)
    weights = dict.fromkeys(list(rewards.REWARDS)[:7], 2.0)
    assert share(rewards_of(text, truth, weights), weights) == 1.0


@given(boxes, st.integers(1, 3000), st.integers(1, 3000))
def test_a_box_in_the_picture_is_never_empty_and_never_outside(box: tuple, width: int, height: int) -> None:
    x0, y0, x1, y1 = to_picture(box, width, height)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


@given(boxes, st.integers(224, 3000), st.integers(224, 3000))
def test_boxes_go_to_the_picture_and_back(box: tuple, width: int, height: int) -> None:
    back = to_frame(to_picture(box, width, height), width, height)
    assert max(abs(a - b) for a, b in zip(back, box, strict=True)) <= 1


@given(boxes, boxes)
def test_overlap_is_that_of_the_pixels(a: tuple, b: tuple) -> None:
    def pixels(box: tuple) -> np.ndarray:
        inside = np.zeros((224, 224), bool)
        x1, y1, x2, y2 = map(int, box)
        inside[y1 : y2 + 1, x1 : x2 + 1] = True
        return inside

    first, second = pixels(a), pixels(b)
    assert box_iou(a, b) == pytest.approx((first & second).sum() / (first | second).sum())
    assert (box_distance(a, b) == 0) == (a == b)


PRINTED_BOXES = [
    (0, 4, 213, 205),
    (68, 97, 154, 138),
    (48, 0, 219, 223),
    (68, 0, 223, 223),
    (48, 0, 215, 197),
    (45, 13, 160, 208),
]
"""Every box that the authors print."""
EVERY = {name: 1.0 for name in rewards.REWARDS if not name.startswith("explanation")}
ON_BOXES = ("overlap", "box_closeness", "overlap_skill", "closeness_skill", "overlap_above_half", "box_near")


@pytest.mark.parametrize("text, label, box", PRINTED)
def test_printed_outputs_earn_every_reward_where_they_are_true(text: str, label: Label, box: tuple) -> None:
    parts = rewards_of(text, Truth(label, box), EVERY)
    applies = [value for name, value in parts.items() if label is Label.TAMPERED or name not in ON_BOXES]
    assert set(applies) == {1.0}
    other = Truth(Label.REAL if label is not Label.REAL else Label.FULL_SYNTHETIC)
    parts = rewards_of(text, other, EVERY)
    assert parts["think_format"] == parts["answer_format"] == 1
    assert parts["class"] == 0
    assert all(parts[name] is None for name in ON_BOXES)


@pytest.mark.parametrize("box", PRINTED_BOXES)
@pytest.mark.parametrize("end", ["", "."])
def test_printed_boxes_are_measured_as_they_stand(box: tuple[int, ...], end: str) -> None:
    x1, y1, x2, y2 = box
    corners = f"({x1},{y1}),({x2},{y2})"
    text = (
        f"<think> A cup. The image is tampered, tampered area is {corners}. </think>"
        f"<answer>TAMPERED,{corners}{end}</answer>"
    )
    assert set(rewards_of(text, Truth(Label.TAMPERED, box), EVERY).values()) == {1.0}
    shifted = Truth(Label.TAMPERED, (x1 / 2, y1 / 2, x2 / 2, y2 / 2))
    parts = rewards_of(text, shifted, EVERY)
    assert parts["class"] == 1
    assert parts["overlap"] == pytest.approx(box_iou(box, shifted.box))
    assert parts["box_near"] == 0


@pytest.mark.parametrize("text, label, box", BROKEN)
def test_a_broken_output_never_earns_every_reward(text: str, label: Label | None, box: tuple | None) -> None:
    truth = Truth(label or Label.REAL, box if label is Label.TAMPERED else None)
    assert share(rewards_of(text, truth, EVERY), EVERY) < 1
    if label is None:
        assert rewards_of(text, truth, EVERY)["class"] == 0


TAMPERED = Truth(Label.TAMPERED, (10.0, 10.0, 109.0, 109.0))


@pytest.mark.parametrize(
    "text, truth, expected",
    [
        (
            "<think>odd light here</think><answer>TAMPERED,(10,10),(109,109)</answer>",
            TAMPERED,
            (1, 1, 1, 1, 1),
        ),
        (
            "<think>odd light here</think><answer>TAMPERED,(15,15),(114,114)</answer>",
            TAMPERED,
            (1, 1, 1, 1, 1),
        ),
        (
            "<think>odd light here</think><answer>TAMPERED,(30,10),(109,109)</answer>",
            TAMPERED,
            (1, 1, 1, 1, 1),
        ),
        (
            "<think>odd light here</think><answer>TAMPERED,(90,90),(200,200)</answer>",
            TAMPERED,
            (1, 1, 1, 0, 0),
        ),
        ("<think>odd light here</think><answer>REAL</answer>", TAMPERED, (1, 1, 0, 0, 0)),
        ("<think>odd light here</think><answer>TAMPERED</answer>", TAMPERED, (1, 0, 1, 0, 0)),
        ("TAMPERED,(10,10),(109,109)", TAMPERED, (0, 0, 1, 1, 1)),
        ("<think>odd light here</think><answer>REAL</answer>", Truth(Label.REAL), (1, 1, 1, None, None)),
        (
            "<think>odd light here</think><answer>FULL_SYNTHETIC</answer>",
            Truth(Label.REAL),
            (1, 1, 0, None, None),
        ),
        (
            "<think>odd light here</think><answer>REAL,(1,1),(2,2)</answer>",
            Truth(Label.REAL),
            (1, 0, 1, None, None),
        ),
        (
            "<think>odd light here</think><answer>TAMPERED,(1,1),(2,2)</answer>",
            Truth(Label.REAL),
            (1, 1, 0, None, None),
        ),
        (
            "<think>odd light here</think><answer>REAL</answer> and more",
            Truth(Label.REAL),
            (0, 1, 1, None, None),
        ),
        (
            "<think>odd light here<think></think><answer>REAL</answer>",
            Truth(Label.REAL),
            (0, 1, 1, None, None),
        ),
        ("<think></think><answer>REAL</answer>", Truth(Label.REAL), (0, 1, 1, None, None)),
        ("<think> . 1 2 3 light</think><answer>REAL</answer>", Truth(Label.REAL), (0, 1, 1, None, None)),
        ("", Truth(Label.REAL), (0, 0, 0, None, None)),
    ],
)
def test_the_five_parts_of_the_reward(text: str, truth: Truth, expected: tuple[int, ...]) -> None:
    assert tuple(rewards_of(text, truth, rewards.DEFAULT).values()) == expected


def test_continuous_rewards_have_a_slope_where_thresholds_have_none() -> None:
    near = write(Label.TAMPERED, (60, 60, 159, 159))
    far = write(Label.TAMPERED, (100, 100, 199, 199))
    for name in ("overlap", "box_closeness"):
        assert 0 < rewards.REWARDS[name](far, TAMPERED) < rewards.REWARDS[name](near, TAMPERED) < 1
    assert rewards.overlap_above_half(near, TAMPERED) == rewards.overlap_above_half(far, TAMPERED) == 0


WHOLE = write(Label.TAMPERED, (0, 0, 223, 223))


@given(boxes)
def test_the_whole_frame_earns_nothing_by_the_skills_unless_it_is_the_forgery(box: tuple) -> None:
    truth = Truth(Label.TAMPERED, box)
    x1, y1, x2, y2 = box
    if (x2 - x1 + 1) * (y2 - y1 + 1) <= rewards.MOST_REFERENCE * 224 * 224:
        assert rewards.overlap_skill(WHOLE, truth) == pytest.approx(0, abs=1e-9)
    if box_distance(rewards.WHOLE, box) >= rewards.NEAR:
        assert rewards.closeness_skill(WHOLE, truth) == 0
    for name in ("overlap_skill", "closeness_skill"):
        assert rewards.REWARDS[name](write(Label.TAMPERED, box), truth) == pytest.approx(1)
        assert 0 <= rewards.REWARDS[name](WHOLE, truth) <= 1


def test_a_forgery_of_the_whole_frame_can_be_told() -> None:
    truth = Truth(Label.TAMPERED, (0.0, 0.0, 223.0, 223.0))
    half = write(Label.TAMPERED, (0, 0, 223, 111))
    for name in ("overlap_skill", "closeness_skill"):
        assert rewards.REWARDS[name](WHOLE, truth) == pytest.approx(1)
        assert rewards.REWARDS[name](half, truth) == 0


@pytest.mark.parametrize("paid, unpaid", [("overlap", "overlap_skill"), ("box_closeness", "closeness_skill")])
def test_the_whole_frame_pays_by_the_plain_rewards_and_not_by_the_skills(paid: str, unpaid: str) -> None:
    """Eight forgeries of half the width and height, and a policy that does not know where they lie."""
    random = np.random.default_rng(0)
    truths, guesses = [], []
    for i in range(16):
        x, y = random.integers(0, 112, 2)
        box = (float(x), float(y), x + 111.0, y + 111.0)
        if i < 8:
            truths.append(Truth(Label.TAMPERED, box))
        else:
            guesses.append(write(Label.TAMPERED, box))

    def mean(name: str, texts: list[str]) -> float:
        reward = rewards.REWARDS[name]
        return float(np.mean([reward(text, truth) for text in texts for truth in truths]))

    assert mean(paid, [WHOLE]) > 0.2
    assert mean(unpaid, [WHOLE]) == 0 < mean(unpaid, guesses)


def test_never_to_name_a_forgery_earns_no_more_than_to_name_each_at_the_wrong_place() -> None:
    """On one picture of each class, by the weights of the tiny recipe: formats 1, class 2, boxes 1."""
    weights = {
        "think_format": 1, "answer_format": 1, "class": 2, "overlap_skill": 1, "closeness_skill": 1,
    }  # fmt: skip
    truths = [Truth(Label.REAL), Truth(Label.FULL_SYNTHETIC), TAMPERED]

    def total(text: str) -> float:
        parts = [rewards_of(text, truth, weights) for truth in truths]
        return sum(weights[name] * (value or 0) for part in parts for name, value in part.items())

    never = total("<think>odd light here</think><answer>REAL</answer>")
    always = total("<think>odd light here</think><answer>TAMPERED,(150,150),(220,220)</answer>")
    assert never == always


def test_the_log_tells_how_large_boxes_are_beside_the_true_ones() -> None:
    truths = [TAMPERED, TAMPERED, Truth(Label.REAL), Truth(Label.TAMPERED)]
    texts = [WHOLE, "<answer>REAL</answer>", WHOLE, WHOLE]
    figures = rewards.box_figures(texts, truths)
    share = 100 * 100 / 224**2
    assert figures == {
        "box_iou": pytest.approx(share / 2),
        "box_area": 1.0,
        "true_area": pytest.approx(share),
    }
    assert rewards.box_figures(texts[2:], truths[2:]) == {}
    assert rewards.box_figures(texts[1:2], truths[1:2]) == {"box_iou": 0.0}


def test_the_explanation_reward_follows_rouge_l_and_applies_only_where_there_is_a_reference() -> None:
    pytest.importorskip("rouge_score", reason="the extra eval brings rouge-score")
    text = write(Label.REAL, None, "even light on the dog")
    same = rewards.explanation_overlap(text, Truth(Label.REAL, None, "even light on the dog"))
    half = rewards.explanation_overlap(text, Truth(Label.REAL, None, "even light in the old kitchen"))
    assert same == 1
    assert 0 < half < 1
    assert rewards.explanation_overlap(text, Truth(Label.REAL)) is None


def test_every_reward_says_whose_it_is() -> None:
    assert rewards.ORIGIN.keys() == rewards.REWARDS.keys()


def test_a_reward_is_switched_off_by_weight_0_and_a_wrong_one_is_told() -> None:
    assert rewards.read_weights({"class": 2, "overlap": 0}) == {"class": 2.0}
    assert rewards.read_weights(None) == rewards.DEFAULT
    for wrong in (
        {"klass": 1},
        {"class": "x"},
        {"class": -1},
        {"class": 0},
        {"class": True},
        {"class": math.nan},
    ):
        with pytest.raises(UsageError):
            rewards.read_weights(wrong)
