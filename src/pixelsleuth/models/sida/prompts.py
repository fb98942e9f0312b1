"""The texts that SIDA was trained on: conversation templates, questions, answers.

They are facts of the published checkpoints: a model answers well only to the prompt of its training.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MARKS = ("<im_start>", "<im_end>")
"""The tokens on both sides of the picture, unless config.json says `mm_use_im_start_end: false`."""
IMAGE = "<image>".join(MARKS)
QUESTION = (
    "Can you identify if this image is real, full synthetic, or tampered image? Please mask the tampered regions if it "
    "is tampered."
)
QUESTION_WHY = QUESTION[:-1] + " and answer why."
_CHAT = "Please answer begin with [CLS] for classification, if the image is tampered, output mask the tampered region"
CHAT_QUESTION, CHAT_QUESTION_WHY = f"{_CHAT}.", f"{_CHAT} and explain why."
ANSWERS = (
    "[CLS] The image is real",
    "[CLS] The image is full synthetic",
    "[CLS] The image is tampered [SEG]",
)
"""The answer of each class, in the order of the class head."""
CANNED = (
    "[CLS] This image is classified as real. It shows no signs of tampering or synthesis.",
    "[CLS] This image is classified as full synthetic. It appears entirely artificially generated.",
    (
        "[CLS] This image is classified as tampered. It has been altered. [SEG] A mask highlighting the tampered "
        "region is provided."
    ),
)
"""The sentences that the release prints in place of a stage 1 model's text."""


@dataclass(frozen=True)
class Template:
    """One round of a conversation: `before` + picture and question + `after`; `end` closes an answer."""

    before: str
    after: str
    end: str


SYSTEM_V1 = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
SYSTEM_LLAMA_2 = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
TEMPLATES = {
    "llava_v1": Template(f"{SYSTEM_V1} USER: ", " ASSISTANT:", "</s>"),
    "llava_llama_2": Template(f"[INST] <<SYS>>\n{SYSTEM_LLAMA_2}\n<</SYS>>\n\n", " [/INST]", " </s>"),
}


def prompt(question: str, template: str | Template = "llava_v1", *, marked: bool = True) -> str:
    """The whole prompt of one round, with `<image>` where the picture's tokens stand, between `MARKS` or not.

    >>> prompt("Real?").endswith("USER: <im_start><image><im_end>\\nReal? ASSISTANT:")
    True
    """
    chosen = TEMPLATES[template] if isinstance(template, str) else template
    return f"{chosen.before}{IMAGE if marked else '<image>'}\n{question}{chosen.after}"


def plain(text: str) -> str:
    """A generated text without its special tokens.

    >>> plain("[CLS]  The image is real</s>")
    'The image is real'
    """
    return " ".join(re.sub(r"\[CLS\]|\[SEG\]|\[END\]|</?s>|<unk>", " ", text).split())


def described(text: str) -> str | None:
    """A description model's text without the class sentence and the added tokens; None where nothing is left.

    >>> described("[CLS] The image is tampered [SEG] Areas: sky. [END] </s>")
    'Areas: sky.'
    >>> described("[CLS]  The image is real</s>") is None
    True
    """
    description = plain(text)
    opening = next((answer for answer in map(plain, ANSWERS) if description.startswith(answer)), "")
    return description[len(opening) :].strip() or None


def without_repeats(text: str) -> str:
    """The text without repeated `<tag>content` pairs, as the release's description chat prints it.

    >>> without_repeats("a <x> 1.<x> 1.<y> 2.")
    'a <x> 1.<y> 2.'
    """
    pairs: set[tuple[str, str]] = set()

    def once(match: re.Match[str]) -> str:
        pair = (match[1], match[2].strip())
        if pair in pairs:
            return ""
        pairs.add(pair)
        return match[0]

    return re.sub(r"<([^<>]+)>([^<>]*)", once, text)
