"""FakeVLM behind any endpoint that speaks the OpenAI chat API (vLLM, SGLang, ...): `--model openai:URL#name`.

A batch of pictures becomes as many requests at once. A request that fails for good becomes the error record of its
picture; the other pictures of the batch go on.

A server puts LLaVA's roles around the question by default; the published figures are those without roles. Start it with
the template of `recipes/fakevlm/raw.jinja` (docs/background/fakevlm.md shows how).
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from pixelsleuth.core.chat import MOST_AT_ONCE, ChatClient, check_address
from pixelsleuth.core.completion import Completion, image_part, shortened
from pixelsleuth.errors import EndpointError, EndpointRefused, UsageError
from pixelsleuth.models.fakevlm.answers import FAKE, QUESTION, REAL, Answer, read
from pixelsleuth.models.fakevlm.detector import FakeVlmDetector

SCHEME = "openai:"
SIDE = 336
"""FakeVLM sees the middle square at this size. It is cut out here, so that no more than that is sent."""
LONGEST_TEXT = 20_000
"""Characters of an explanation that are kept: a server may ignore the limit of tokens."""
MOST_SILENT = 3
"""Tries in a row without any answer, after which each picture gets one try: a long run against a dead server ends."""


class ServedEngine:
    """FakeVLM's question to an endpoint, for as many pictures at once as the batch holds.

    Args:
        model: the name that it is served under; empty: the only model that the endpoint lists.
    """

    def __init__(self, client: ChatClient, model: str = "") -> None:
        self.client, self.name = client, model
        self.has_likelihoods = True
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """The model's name, looked up once where none was given. Raises EndpointError."""
        with self._lock:
            if not self.name:
                names = self.client.models()
                if len(names) != 1:
                    served = shortened(", ".join(names)) or "no model that it lists"
                    raise EndpointError(f"{self.client.url} serves {served}: choose one, openai:URL#NAME.")
                self.name = names[0]
            return self.name

    def answer(
        self, pixels: Sequence[np.ndarray], *, explain: bool = True, max_new_tokens: int = 256
    ) -> list[Answer]:
        """One answer a picture, in order; a failure is the answer of that picture."""
        tokens = max_new_tokens if explain else 8  # "This is a real image." and no more
        with ThreadPoolExecutor(max_workers=max(1, min(len(pixels), MOST_AT_ONCE))) as pool:
            answers = list(pool.map(lambda picture: self._ask(picture, tokens), pixels))
        return (
            answers if explain else [Answer(entry.text, entry.real, False, entry.error) for entry in answers]
        )

    def _ask(self, pixels: np.ndarray, tokens: int) -> Answer:
        try:
            body = {"model": self.model, **_question(pixels), "temperature": 0, "max_tokens": tokens}
            return _answer_of(self._complete(body), self.client.url)
        except EndpointError as error:
            return Answer(error=error)

    def _complete(self, body: dict[str, Any]) -> Completion:
        """With likelihoods where the endpoint gives them; one that refuses is not asked for them again."""
        if not self.has_likelihoods:
            return self.client.complete(body)
        try:
            return self.client.complete(body | {"logprobs": True, "top_logprobs": 20})
        except EndpointRefused as error:
            if error.status not in (400, 422):
                raise
            completion = self.client.complete(body)
            self.has_likelihoods = False
            return completion


def middle_square(pixels: np.ndarray, side: int = SIDE) -> Image.Image:
    """The middle square at `side` pixels, as CLIP's processor cuts it (bicubic, shorter side first)."""
    image = Image.fromarray(pixels)
    width, height = image.size
    short = min(width, height)
    size = (side * width // short, side * height // short)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return image.crop((left, top, left + side, top + side))


def _question(pixels: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    middle_square(pixels).save(buffer, "PNG", compress_level=1)
    content = [image_part(buffer.getvalue()), {"type": "text", "text": QUESTION}]
    return {"messages": [{"role": "user", "content": content}]}


def _answer_of(completion: Completion, url: str) -> Answer:
    """Text and likelihood of a completion. Raises EndpointError where it has no text."""
    if completion.text is None:
        raise EndpointError(f"{url} answered without a text: check which model it serves.")
    text = completion.text.strip()
    real = _likelihood(completion.logprobs, read(completion.text).span)
    return Answer(text[:LONGEST_TEXT], real, completion.cut or len(text) > LONGEST_TEXT)


def _likelihood(logprobs: Any, span: tuple[int, int] | None) -> float | None:
    """Likelihood of "real" against "fake" at the token that wrote the verdict's word; None where it is not known.

    A word that is not among the listed alternatives is at most as likely as the least likely of them.
    """
    if span is None or not isinstance(logprobs, dict) or not isinstance(logprobs.get("content"), list):
        return None
    so_far = 0
    try:
        for token in logprobs["content"]:
            so_far += len(token["token"])
            if so_far <= span[0]:
                continue
            alternatives = [
                (str(entry["token"]), float(entry["logprob"]))
                for entry in [token, *token.get("top_logprobs", [])]
            ]
            chances = dict.fromkeys((REAL, FAKE), math.exp(min(value for _, value in alternatives)))
            named = {word.strip(" ▁Ġ").lower(): math.exp(value) for word, value in reversed(alternatives)}
            if not named.keys() & chances.keys() or len(alternatives) < 2:
                return None
            chances |= {word: named[word] for word in chances if word in named}
            return chances[REAL] / (chances[REAL] + chances[FAKE])
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return None


def load(name: str, device: str = "auto", precision: str = "auto") -> FakeVlmDetector:
    """The detector of `openai:URL#model`; nothing is sent before the first picture.

    Raises:
        UsageError: the address is none; a device or precision was asked for, which is the server's to choose.
    """
    if precision != "auto" or device == "cuda":
        raise UsageError("A served model runs where its server runs: leave --device and --precision out.")
    url, _, model = name.removeprefix(SCHEME).partition("#")
    check_address(url, "openai:http://HOST:PORT/v1#MODEL")
    if not urlsplit(url).path.strip("/"):
        url = f"{url.rstrip('/')}/v1"
    client = ChatClient(url, most_silent=MOST_SILENT)
    return FakeVlmDetector(ServedEngine(client, model), model or "served")
