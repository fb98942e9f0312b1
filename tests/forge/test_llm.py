"""The chat client against a server that is slow, refuses, breaks off and answers nonsense; the stages that use it."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelsleuth.errors import Unavailable, Unfinished, UsageError
from pixelsleuth.forge import objects
from pixelsleuth.forge.configuration import (
    ChoicesConfig,
    DescriptionsConfig,
    EditConfig,
    ForgeConfig,
    LlmConfig,
    ObjectsConfig,
    OutputConfig,
)
from pixelsleuth.forge.describe import from_record, sida_text
from pixelsleuth.forge.llm import JsonChat, Malformed, estimate
from pixelsleuth.forge.objects import (
    ATTRIBUTES,
    COCO,
    PLAIN_ATTRIBUTES,
    SUPERCATEGORY,
    find_object,
    name_object,
)
from pixelsleuth.forge.pipeline import run_forge
from pixelsleuth.forge.sources import Context
from pixelsleuth.forge.stages import attempt, read_rows

quiet = {"say": lambda _: None, "quiet": True}


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, in seconds. They are noted, nobody waits for them."""
    pytest.importorskip("openai", reason="needs the extra api")
    pauses: list[float] = []
    monkeypatch.setattr("openai._base_client.time", SimpleNamespace(sleep=pauses.append, time=time.time))
    return pauses


def client(server: Any, **settings: Any) -> JsonChat:
    return JsonChat(
        LlmConfig(base_url=server.url, model="tiny", **{"timeout": 2.0, "retries": 4, **settings})
    )


def test_errors_delays_and_nonsense_are_tried_again_until_an_answer_comes(
    chat_server: Any, pauses: list[float]
) -> None:
    script = [
        (500, b"broken", {}, 0.0),
        (429, b"slow down", {"Retry-After": "7"}, 0.0),
        (200, b"this is no chat completion", {}, 0.0),
        (200, "this is no JSON", {}, 0.0),
        (200, '```json\n{"answer": 42}\n```', {}, 0.0),
    ]
    chat_server.behave = lambda _, number: script[number]
    ask = client(chat_server)
    assert ask.ask("be strict", "what?", check=lambda answer: answer["answer"]) == 42
    assert len(chat_server.bodies) == 5
    assert 7 in pauses
    assert ask.used == {"requests": 2, "input_tokens": 22, "output_tokens": 10}


def test_a_server_that_is_too_slow_or_gone_is_unavailable_and_not_wrong(chat_server: Any) -> None:
    chat_server.behave = lambda *_: (200, '{"a": 1}', {}, 1.0)
    ask = client(chat_server, timeout=0.1, retries=1)
    with pytest.raises(Unavailable, match="did not answer"):
        ask.ask("s", "p", check=lambda answer: answer)
    gone = JsonChat(LlmConfig(base_url="http://127.0.0.1:9/v1", model="m", retries=1))
    with pytest.raises(Unavailable, match="run the same command again"):
        gone.ask("s", "p", check=lambda answer: answer)


def test_a_refused_key_ends_the_run_with_what_to_do(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_KEY", "not-a-real-key")
    chat_server.behave = lambda *_: (401, b"no", {}, 0.0)
    ask = client(chat_server, api_key_env="FORGE_KEY")
    with pytest.raises(UsageError, match="set FORGE_KEY to a valid one") as refused:
        ask.ask("s", "p", check=lambda answer: answer)
    assert "not-a-real-key" not in str(refused.value)
    assert chat_server.headers[0]["Authorization"] == "Bearer not-a-real-key"
    assert len(chat_server.bodies) == 1


def test_answers_that_stay_malformed_are_given_up(chat_server: Any) -> None:
    chat_server.behave = lambda *_: (200, "[1, 2", {}, 0.0)
    ask = client(chat_server, retries=2)
    with pytest.raises(Malformed, match="no JSON"):
        ask.ask("s", "p", check=lambda answer: answer)
    assert len(chat_server.bodies) == 3


def test_the_rate_limit_holds(chat_server: Any) -> None:
    chat_server.behave = lambda *_: (200, "{}", {}, 0.0)
    config = LlmConfig(base_url=chat_server.url, model="m", requests_per_minute=1200)
    ask, start = JsonChat(config), time.monotonic()
    for _ in range(5):
        ask.ask("s", "p", check=lambda answer: answer)
    assert time.monotonic() - start >= 4 * 0.05


def test_strict_json_and_pictures_travel_as_the_api_wants_them(chat_server: Any) -> None:
    ask = client(chat_server)
    ask.ask("s", "p", check=lambda answer: answer, schema={"type": "object"}, image=b"\x89PNG...")
    body = chat_server.bodies[0]
    assert body["response_format"]["json_schema"]["strict"]
    assert body["messages"][1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    loose = client(chat_server, strict_json=False)
    loose.ask("s", "p", check=lambda answer: answer, schema={"type": "object"})
    assert chat_server.bodies[1]["response_format"] == {"type": "json_object"}


def test_the_cost_is_estimated_and_bounded_before_anything_is_asked() -> None:
    priced = LlmConfig(model="m", input_price=2.0, output_price=8.0, max_tokens=1000)
    assert "about 5.00 at the prices given" in estimate(priced, 1000, 2000, images=False)
    assert "no prices are set" in estimate(LlmConfig(model="m"), 10, 400, images=True)
    with pytest.raises(UsageError, match=r"more than llm\.max_cost=1"):
        estimate(
            LlmConfig(model="m", input_price=2.0, output_price=8.0, max_cost=1.0), 10_000, 4000, images=True
        )
    with pytest.raises(UsageError, match=r"needs llm\.input_price"):
        estimate(LlmConfig(model="m", max_cost=1.0), 10, 400, images=True)


def objects_context(server: Any, tmp_path: Path, **settings: Any) -> Context:
    llm = LlmConfig(base_url=server.url, model="m", timeout=2.0, **{"retries": 1, **settings})
    return Context(ForgeConfig(photographs=".", objects=ObjectsConfig("llm", llm)), tmp_path)


def test_an_object_that_is_not_in_the_caption_is_asked_for_again_and_then_a_record(
    chat_server: Any, tmp_path: Path
) -> None:
    row = {"id": "x", "caption": "A dog on a couch", "objects": []}
    answers = ['{"object": "elephant", "coco_class": "elephant"}', '{"object": "dog", "coco_class": "dog"}']
    chat_server.behave = lambda _, number: (200, answers[number % 2], {}, 0.0)
    made = attempt(name_object, row, objects_context(chat_server, tmp_path))
    assert made[0]["object"] == "dog"  # type: ignore[index]
    chat_server.behave = lambda *_: (200, answers[0], {}, 0.0)
    made = attempt(name_object, row, objects_context(chat_server, tmp_path, max_tokens=77))
    assert "does not occur in the caption" in made[0]["error"]["message"]  # type: ignore[index]


def test_a_run_whose_service_fails_for_some_goes_on_later_and_asks_only_for_those(
    photos: Path, captions: Path, chat_server: Any, tmp_path: Path
) -> None:
    down = {"now": True}

    def behave(body: dict[str, Any], _: int) -> tuple[int, Any, dict[str, str], float]:
        caption = body["messages"][1]["content"]
        word = next(name for name in ("dog", "cat", "horse") if name in caption or name == "horse")
        if down["now"] and word == "cat":
            return 503, b"", {"Retry-After": "0"}, 0.0
        if word == "horse" and "horse" not in caption:
            word = "couch"
        return 200, json.dumps({"object": word, "coco_class": word}), {}, 0.0

    chat_server.behave = behave
    llm = LlmConfig(base_url=chat_server.url, model="m", retries=1, parallel=2)
    config = ForgeConfig(out=str(tmp_path / "run"), photographs=str(photos), captions=str(captions), workers=1, limit=9,
                         objects=ObjectsConfig("llm", llm), output=OutputConfig(parquet=False))  # fmt: skip
    with pytest.raises(Unfinished, match="objects: 2 of"):
        run_forge(config, **quiet)
    down["now"], before = False, len(chat_server.bodies)
    run_forge(config, **quiet)
    assert len(chat_server.bodies) - before == 2
    rows = [row for row in read_rows(tmp_path / "run" / "objects.jsonl") if "error" not in row]
    assert {row["object_from"] for row in rows} == {"llm"}
    assert all(row["object"] in row["caption"] for row in rows)


def test_sidas_sections_by_a_model_and_fakeclues_points_by_several(
    photos: Path, chat_server: Any, tmp_path: Path
) -> None:
    def behave(body: dict[str, Any], _: int) -> tuple[int, Any, dict[str, str], float]:
        if body["model"] == "writer":
            keys = body["response_format"]["json_schema"]["schema"]["required"]
            return 200, json.dumps({key: f"Something about {key.lower()}." for key in keys}), {}, 0.0
        if body["model"] == "merger":
            lists = json.loads(body["messages"][1]["content"])
            both = [point for point in lists[0] if point in lists[1]]
            return 200, json.dumps({"points": both}), {}, 0.0
        points = ["the border is sharp", f"only {body['model']} saw this."]
        return 200, json.dumps({"points": points}), {}, 0.0

    chat_server.behave = behave
    writer = LlmConfig(base_url=chat_server.url, model="writer")
    base = ForgeConfig(out=str(tmp_path / "sida"), photographs=str(photos), workers=1, limit=3,
                       output=OutputConfig(parquet=False),
                       descriptions=DescriptionsConfig("llm", "sida", writer))  # fmt: skip
    run_forge(base, **quiet)
    rows = list(csv.DictReader((tmp_path / "sida" / "dataset" / "manifest.csv").open()))
    assert {row["description"].split()[1] for row in rows} <= {"real", "object", "part"}
    assert all("Something about" in row["description"] for row in rows)
    merger = LlmConfig(base_url=chat_server.url, model="merger")
    several = DescriptionsConfig("annotators", "fakeclue", merger, [{"model": "one"}, {"model": "two"}])
    run_forge(replace(base, out=str(tmp_path / "clue"), descriptions=several), **quiet)
    records = list(read_rows(tmp_path / "clue" / "dataset" / "records.jsonl"))
    for row in records:
        opening = "This is a real image." if row["label"] == "real" else "This is a fake image."
        assert row["description"] == f"{opening} the border is sharp."
        assert row["described_by"] == ["one", "two", "merger"]


CLAIMS = {"label": "tampered", "mode": "object", "operation": "inpainting", "object": "dog", "replacement": "cat",
          "place": "centre", "size": "5 to 10 %", "traces": ["generator"], "noise": "noise is low",
          "detail": "fine detail is soft"}  # fmt: skip


def test_texts_from_the_record_in_three_styles() -> None:
    sida = from_record(CLAIMS, "sida")
    assert sida == ("Type: object tampered Areas: centre, 5 to 10 % of the picture "
                    "Tampered Content: dog replaced by cat "
                    "Visual Inconsistencies: its texture is that of a generator [end]")  # fmt: skip
    assert from_record(CLAIMS, "fakeclue").startswith("This is a fake image. in the centre, 5 to 10 %")
    synthetic = {
        "label": "full_synthetic",
        "noise": "noise is low",
        "detail": "fine detail is soft",
        "generator": "SD-XL",
    }
    assert "{synthetic}" in from_record(synthetic, "sida")
    assert "(SD-XL)" in from_record(synthetic, "prose")
    assert sida_text(CLAIMS | {"mode": "part"}, {"Areas": "  "}) == "Type: part tampered  [end]"


@given(st.text(max_size=80))
def test_any_caption_is_safe_to_look_through(caption: str) -> None:
    match = find_object(caption)
    if match is not None:
        assert match[0].lower() in caption.lower()
        assert match[1] in COCO


def test_replacements_stay_in_the_supercategory_and_keep_the_share(tmp_path: Path) -> None:
    config = ForgeConfig(photographs=".", edit=EditConfig(method="inpaint", model="m"),
                         choices=ChoicesConfig(edits_per_photograph=2))  # fmt: skip
    context, modes = Context(config, tmp_path), []
    for index in range(200):
        row = {"id": f"p{index}", "caption": "A dog on a red couch", "object": "dog", "coco_class": "dog"}
        for made in objects.choose(row, context):
            modes.append(made["mode"])
            if made["mode"] == "object":
                assert SUPERCATEGORY[made["replacement"]] == "animal"
                assert made["replacement"] != "dog"
            else:
                assert made["replacement"].removesuffix(" dog") in ATTRIBUTES["animal"]
            assert "couch" in made["prompt"]
    assert 0.72 < modes.count("object") / len(modes) < 0.88
    strange = {"id": "q", "caption": "A lamp", "object": "lamp", "coco_class": None}
    assert objects.choose(strange, context)[0]["replacement"].removesuffix(" lamp") in PLAIN_ATTRIBUTES
    assert "error" in objects.choose({"id": "r", "caption": "", "object": ""}, context)[0]
