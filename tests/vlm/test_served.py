"""A local server that speaks the OpenAI API serves a tiny model to `check --model openai:URL#name`, under faults."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_vlm import picture

from pixelsleuth.cli.main import main
from pixelsleuth.core import chat, completion
from pixelsleuth.errors import EndpointError, UsageError
from pixelsleuth.models.fakevlm import served
from pixelsleuth.models.fakevlm.engine import FakeVlmEngine, load_engine


class Server:
    """Chat completions by a tiny LLaVA; `faults` are answered first, one a request, in order."""

    def __init__(self, engine: FakeVlmEngine) -> None:
        self.engine, self.lock = engine, threading.Lock()
        self.faults: list[str] = []
        self.always = ""
        self.requests: list[dict] = []
        self.faulty: Counter[str] = Counter()
        self.running = self.most = 0
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def send(self, status: int, data: bytes, **headers: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self.send(200, json.dumps({"data": [{"id": "tiny"}]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    server.requests.append(body)
                    fault = server.faults.pop(0) if server.faults else server.always
                    server.running += 1
                    server.most = max(server.most, server.running)
                try:
                    self.reply(body, fault)
                finally:
                    with server.lock:
                        server.running -= 1

            def reply(self, body: dict, fault: str) -> None:
                server.faulty[fault] += 1
                if fault.isdigit():
                    self.send(int(fault), b'{"error": {"message": "busy\\nnow"}}', Retry_After="0.01")
                elif fault == "hang":
                    time.sleep(1.5)
                elif fault == "cut":
                    self.connection.close()
                elif fault == "html":
                    self.send(200, b"<html>hello</html>")
                elif fault == "list":
                    self.send(200, b"[1, 2]")
                elif fault == "empty":
                    self.send(200, b'{"choices": []}')
                elif fault == "null":
                    self.send(200, b'{"choices": [{"message": {"content": null}}]}')
                elif fault == "huge":
                    self.send(200, b" " * (chat.LARGEST_ANSWER + 10))
                elif fault == "slow":
                    time.sleep(0.2)
                    self.send(200, json.dumps(server.complete(body)).encode())
                elif fault == "no-logprobs" and "logprobs" in body:
                    self.send(400, b'{"message": "logprobs are not supported"}')
                elif fault == "nonsense":
                    self.send(200, b'{"choices": [{"message": {"content": "Blue.\\nGreen, most likely."}}]}')
                else:
                    self.send(200, json.dumps(server.complete(body)).encode())

        return Handler

    def complete(self, body: dict) -> dict:
        """What vLLM answers: text, finish reason, and logprobs where asked for."""
        url = body["messages"][0]["content"][0]["image_url"]["url"]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
        engine = self.engine
        with self.lock:
            (answer,) = engine.answer([pixels], max_new_tokens=body["max_tokens"])
        ids = engine.tokenizer(answer.text, add_special_tokens=False)["input_ids"]
        choice = {
            "message": {"role": "assistant", "content": answer.text},
            "finish_reason": "length" if answer.cut else "stop",
        }
        if body.get("logprobs"):
            content = []
            for token_id in ids:
                word = engine.tokenizer.decode([token_id])
                token = {"token": word, "logprob": -0.01, "top_logprobs": []}
                if word.strip() in ("real", "fake"):
                    chances = {" real": answer.real, " fake": 1 - answer.real}
                    token["top_logprobs"] = [
                        {"token": w, "logprob": math.log(max(p, 1e-30))} for w, p in chances.items()
                    ]
                    token["logprob"] = math.log(chances[" " + word.strip()])
                content.append(token)
            choice["logprobs"] = {"content": content}
        return {"choices": [choice]}


@pytest.fixture(scope="module")
def running(taught_folder: Path) -> Iterator[Server]:
    server = Server(load_engine(str(taught_folder), device="cpu")[0])
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    running.faults, running.always, running.requests, running.most = [], "", [], 0
    running.faulty.clear()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai", reason="needs the extra api")
    short = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.05)), time=time.time)
    monkeypatch.setattr("openai._base_client.time", short)


def check(*arguments: object) -> tuple[int, list[dict], str]:
    result = CliRunner().invoke(main, ["check", *map(str, arguments), "--format", "json"])
    return result.exit_code, json.loads(result.stdout or "[]"), result.stderr


def engine_for(server: Server, **options: float) -> served.ServedEngine:
    return served.ServedEngine(chat.ChatClient(server.url, **options), "tiny")


def test_the_verdicts_are_those_of_the_same_model_on_this_machine(
    server: Server, pictures: list[Path]
) -> None:
    status, records, errors = check(*pictures, "--model", f"openai:{server.url}#tiny", "--batch-size", 4)
    assert status == 0, errors
    assert [record["label"] for record in records] == ["real", "full_synthetic", "real", "full_synthetic"]
    pixels = [np.asarray(served.middle_square(np.asarray(Image.open(path)))) for path in pictures]
    expected = server.engine.answer(pixels)
    assert [record["explanation"] for record in records] == [answer.text for answer in expected]
    assert [record["probabilities"]["real"] for record in records] == pytest.approx(
        [answer.real for answer in expected], abs=1e-5
    )
    assert records[1]["model"]["name"] == "tiny"
    assert server.requests[0]["temperature"] == 0


def test_the_square_is_the_one_that_clips_processor_cuts(llava_folder: Path) -> None:
    from transformers import CLIPImageProcessorPil

    ours = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    for size in ((500, 400), (341, 700), (60, 40)):
        pixels = picture("fake", size)
        whole = ours([Image.fromarray(pixels)], return_tensors="np")["pixel_values"]
        cut = ours([served.middle_square(pixels)], return_tensors="np")["pixel_values"]
        assert np.abs(whole - cut).max() < 1e-5


def test_a_batch_is_as_many_requests_at_once(server: Server) -> None:
    server.always = "slow"
    answers = engine_for(server).answer([picture("real", seed=i) for i in range(6)])
    assert all(answer.error is None for answer in answers)
    assert 2 <= server.most <= 6


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut", "html", "list"])
def test_what_may_pass_is_tried_again(server: Server, fault: str) -> None:
    server.faults = [fault, fault]
    (answer,) = engine_for(server).answer([picture("fake")])
    assert answer.error is None
    assert answer.text.startswith("This is a fake image.")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "fault", ["500", "cut", "html", "list", "empty", "null", "huge", "404", "401", "hang"]
)
def test_what_stays_is_the_error_of_that_picture_and_the_rest_goes_on(
    server: Server, fault: str, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_for(server, retries=1, timeout=0.4 if fault == "hang" else 20.0)
    server.faults = [fault] * 2
    (failed,) = engine.answer([picture("real")])
    assert isinstance(failed.error, EndpointError)
    assert "\n" not in str(failed.error)
    assert server.url in str(failed.error)
    server.faults = []
    (answer,) = engine.answer([picture("real")])
    assert answer.real is not None


def test_an_endpoint_that_is_down_gives_a_record_a_picture(pictures: list[Path]) -> None:
    started = time.monotonic()
    status, records, _ = check(*pictures, "--model", "openai:http://127.0.0.1:9/v1#tiny")
    assert status == 1
    assert [record["error"]["code"] for record in records] == ["endpoint_error"] * 4
    assert records[0]["label"] is None
    assert records[0]["sha256"]
    assert time.monotonic() - started < 30


def test_an_answer_without_a_verdict_is_inconclusive_and_no_coin_is_thrown(
    server: Server, pictures: list[Path]
) -> None:
    server.always = "nonsense"
    status, (record,), _ = check(pictures[0], "--model", f"openai:{server.url}#tiny")
    assert status == 0
    assert record["inconclusive"]
    assert record["probabilities"]["real"] == 0.5
    assert "the answer names no verdict" in record["warnings"]


def test_an_endpoint_without_likelihoods_is_asked_without_and_the_verdict_says_so(
    server: Server, pictures: list[Path]
) -> None:
    server.always = "no-logprobs"
    status, records, _ = check(*pictures[:2], "--model", f"openai:{server.url}#tiny")
    assert status == 0
    assert [record["confidence"] for record in records] == [1.0, 1.0]
    assert all(any("no likelihoods" in text for text in record["warnings"]) for record in records)
    assert len(server.requests) == 3  # the refusal is remembered


def test_the_only_model_served_needs_no_name(server: Server, pictures: list[Path]) -> None:
    status, (record,), _ = check(pictures[0], "--model", f"openai:{server.url.removesuffix('/v1')}")
    assert status == 0
    assert record["label"] == "real"
    assert server.requests[0]["model"] == "tiny"


@pytest.mark.parametrize(
    "name", ["openai:", "openai:ftp://host/v1#x", "openai:file:///etc/passwd", "openai:http://"]
)
def test_what_is_no_address_is_wrong_usage(name: str, pictures: list[Path]) -> None:
    result = CliRunner().invoke(main, ["check", str(pictures[0]), "--model", name])
    assert result.exit_code == 2
    assert "openai:http://HOST:PORT/v1#MODEL" in str(result.exception) + result.stderr


def test_precision_is_the_servers_to_choose() -> None:
    with pytest.raises(UsageError, match="--precision"):
        served.load("openai:http://localhost:1/v1#x", precision="bf16")


def test_a_word_that_is_not_told_is_at_most_as_likely_as_the_least_likely() -> None:
    logprobs = {
        "content": [
            {"token": "This is a"},
            {"token": " real", "logprob": -0.1, "top_logprobs": [{"token": " nice", "logprob": -3.0}]},
        ]
    }
    real = served._likelihood(logprobs, (10, 14))
    assert real == pytest.approx(math.exp(-0.1) / (math.exp(-0.1) + math.exp(-3.0)))
    for broken in (None, [], {"content": [{}]}, {"content": [{"token": "This is a real"}]}, {"content": "x"}):
        assert served._likelihood(broken, (10, 14)) is None


def test_the_raw_template_renders_the_prompt_of_the_local_engine(server: Server) -> None:
    import jinja2

    root = Path(__file__).resolve().parents[2]
    template = jinja2.Environment().from_string((root / "recipes/fakevlm/raw.jinja").read_text())
    messages = served._question(picture("real"))["messages"]
    text = template.render(messages=messages, add_generation_prompt=True)
    ids = []
    for token in server.engine.tokenizer(text)["input_ids"]:
        ids += [token] * (server.engine.patches if token == server.engine.image_id else 1)
    assert ids == server.engine.prompt_ids(served.QUESTION)


def test_tries_and_pauses_end_with_the_total_time(server: Server) -> None:
    server.always = "500"
    began = time.monotonic()
    (answer,) = engine_for(server, retries=1000, total=0.8).answer([picture("real")])
    assert time.monotonic() - began < 4
    assert "tries): check that the server" in str(answer.error) or "within 0.8 seconds" in str(answer.error)


@pytest.mark.parametrize("long", ["x" * 100_000, "a\n\x1b[31m" * 50_000])
def test_what_a_server_says_at_length_is_shortened_in_messages(
    server: Server, long: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = completion.reason(json.dumps({"error": {"message": long}}).encode())
    assert len(reason) <= completion.MOST_SHOWN + 3
    assert reason.isprintable()
    client = chat.ChatClient(server.url)
    monkeypatch.setattr(client, "models", lambda: [long, "b"])
    with pytest.raises(EndpointError) as caught:
        _ = served.ServedEngine(client).model
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_an_endless_explanation_is_cut_and_said_to_be(server: Server) -> None:
    endless = completion.Completion("This is a fake image. " + "x" * 1_000_000)
    answer = served._answer_of(endless, server.url)
    assert len(answer.text) == served.LONGEST_TEXT
    assert answer.cut
