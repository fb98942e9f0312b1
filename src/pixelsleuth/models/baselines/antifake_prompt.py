"""AntifakePrompt: one trained pseudo word in a question to a frozen InstructBLIP (Chang et al., ECCV 2024).

    pixelsleuth check picture.jpg --model antifake_prompt --weights COCO_150k_SD2_SD2IP.pth --option backbone=FOLDER

"Is this photo real [*]?" goes to the Q-Former and to the language model, each with its own vector for [*]. The answer
whose likelihood is greater wins; its log odds are the logit. The backbone is never trained: checkpoints hold two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError
from pixelsleuth.models import hub
from pixelsleuth.models.baseline import Baseline, Output
from pixelsleuth.models.facts import ANYTHING, Facts
from pixelsleuth.models.inputs import centre_crop, normalised, random_crop, short_side, unit
from pixelsleuth.models.pretrained import load_model, load_tokenizer
from pixelsleuth.models.weights import read_config

WORD = "[*]"
QUESTION = f"Is this photo real {WORD}?"
ANSWERS = ("yes", "no")
"""Real and fake."""
STATISTICS = {
    "coco_sd2_sd2ip": ((0.4730, 0.4499, 0.4129), (0.2780, 0.2713, 0.2872)),
    "coco_sd2_sd2ip_lama": ((0.4722, 0.4490, 0.4117), (0.2772, 0.2708, 0.2867)),
}
"""Mean and standard deviation of the authors' two training sets; not CLIP's."""
PUBLISHED = {
    "Qformer.bert.embeddings.train_word_embeddings.weight": "model.qformer.embeddings.word_embeddings.row",
    "llm_model.model.train_embed_tokens.weight": "model.language_model.model.embed_tokens.row",
}
SPREAD = 0.02
"""Standard deviation of an untrained row."""


class Backbone(NamedTuple):
    """InstructBlipForConditionalGeneration and its two tokenizers."""

    model: Any
    tokenizer: Any
    qformer_tokenizer: Any


class Widened(nn.Module):
    """An embedding table with one more row, which alone is trained; the table itself keeps its size."""

    def __init__(self, table: nn.Embedding, place: int) -> None:
        super().__init__()
        self.table, self.place = table, place
        self.row = nn.Parameter(torch.randn(1, table.embedding_dim) * SPREAD)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, width)."""
        ours = ids == self.place
        rows: Tensor = self.table(ids.masked_fill(ours, 0))
        return torch.where(ours[..., None], self.row.to(rows.dtype), rows)


class AntifakePrompt(Baseline):
    """One logit. Options: `statistics`, of the pixels, by checkpoint; `backbone`, a folder or hub id."""

    facts = Facts(
        name="antifake_prompt",
        title="AntifakePrompt",
        paper="Chang, Yeh, Chiu, Yu: AntifakePrompt, ECCV 2024",
        source="nctu-eva-lab/AntifakePrompt@957c1e1",
        licence="BSD-3 (code); the language model's weights under LLaMA's and Vicuna's terms",
        where="linked from the authors' repository; the backbone is Salesforce/instructblip-vicuna-7b on the hub",
        files=("COCO_150k_SD2_SD2IP.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "statistics": ("coco_sd2_sd2ip", "coco_sd2_sd2ip_lama"),
            "backbone": ("Salesforce/instructblip-vicuna-7b", ANYTHING),
        },
        parameters=7_913_215_488,
        known_by="Qformer.bert.embeddings.train_word_embeddings.weight",
        no_graph="it generates with a language model",
    )
    frozen = ("model",)

    question_ids: Tensor
    qformer_ids: Tensor

    def __init__(self, backbone: Backbone | str | None = None, **options: str) -> None:
        if isinstance(backbone, str):
            options["backbone"] = backbone
        super().__init__(**options)
        made = backbone if isinstance(backbone, Backbone) else load_backbone(self.options["backbone"])
        self.model: Any = made.model.eval().requires_grad_(False)
        self.side = int(self.model.config.vision_config.image_size)
        question_ids, self.answers, self.end = _question(made.tokenizer)
        qformer_ids = _with_word(made.qformer_tokenizer)(QUESTION)["input_ids"]
        self.register_buffer("question_ids", torch.tensor([question_ids]), persistent=False)
        self.register_buffer("qformer_ids", torch.tensor([qformer_ids]), persistent=False)
        inner = self.model.qformer.embeddings
        inner.word_embeddings = Widened(inner.word_embeddings, _place(made.qformer_tokenizer))
        language = self.model.language_model
        language.set_input_embeddings(Widened(language.get_input_embeddings(), _place(made.tokenizer)))

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint holds the two rows (and LAVIS' buffers, not needed here); the backbone keeps its weights."""
        rows = {PUBLISHED.get(key, key): value for key, value in state.items() if not _is_buffer(key)}
        return {k: v for k, v in self.state_dict().items() if not k.endswith(".row")} | rows

    def learnt(self) -> dict[str, Tensor]:
        return {key: value for key, value in self.state_dict().items() if key.endswith(".row")}

    def prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 -> (3, 224, 224): short side 224 (bicubic), the centre, the authors' statistics."""
        return self._normalised(centre_crop(self._small(pixels), self.side))

    def example(self, pixels: NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """A random crop instead of the centre, mirrored in half."""
        return self._normalised(random_crop(self._small(pixels), self.side, random))

    def _small(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return short_side(pixels, self.side, Image.Resampling.BICUBIC)

    def _normalised(self, pixels: NDArray[np.uint8]) -> Tensor:
        return normalised(unit(pixels), *STATISTICS[self.options["statistics"]])

    def forward(self, x: Tensor, answers: Tensor | None = None) -> Tensor:
        """Pictures (B, 3, 224, 224) and ids of answers (B, A) -> logits (B, 1 + A, vocabulary) of the tokens after the
        question."""
        qformer_ids = self.qformer_ids.expand(len(x), -1)
        image_tokens = self.model.get_image_features(
            x, qformer_input_ids=qformer_ids, return_dict=True
        ).pooler_output
        ids = self.question_ids.expand(len(x), -1)
        ids = ids if answers is None else torch.cat([ids, answers], dim=1)
        words = self.model.language_model.get_input_embeddings()(ids)
        output = self.model.language_model(
            inputs_embeds=torch.cat([image_tokens.to(words.dtype), words], dim=1)
        )
        count = 1 if answers is None else 1 + answers.shape[1]
        logits: Tensor = output.logits[:, -count:].float()
        return logits

    def run(self, inputs: Sequence[Tensor]) -> Output:
        """Log odds of "no" against "yes": each is one token, so the softmax's normalisation cancels."""
        logits = self(torch.stack(list(inputs)))[:, 0]
        return Output(logits[:, self.answers[1]] - logits[:, self.answers[0]])

    def loss(
        self, inputs: Sequence[Tensor], labels: Tensor, masks: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """Cross entropy of the answer and of the end token after it."""
        del masks
        answer_ids = torch.tensor(self.answers, device=labels.device)[labels.long()]
        logits = self(torch.stack(list(inputs)), answer_ids[:, None])
        targets = torch.stack([answer_ids, torch.full_like(answer_ids, self.end)], dim=1)
        return {"loss": F.cross_entropy(logits.flatten(0, 1), targets.flatten())}


def load_backbone(name: str) -> Backbone:
    """InstructBLIP from a folder or hub id.

    Raises:
        UsageError: no such folder or repository, not InstructBLIP, weights or tokenizers missing.
    """
    folder = hub.resolve(name)
    kind = read_config(folder).get("model_type")
    if kind != "instructblip":
        raise UsageError(f"{name} is a checkpoint of {kind or 'nothing'}, not of InstructBLIP.")
    model, _ = load_model(folder, name, device="cpu", precision="fp32")
    return Backbone(model, load_tokenizer(folder), load_tokenizer(folder / "qformer_tokenizer"))


def _with_word(tokenizer: Any) -> Any:
    tokenizer.add_tokens([WORD], special_tokens=True)
    return tokenizer


def _place(tokenizer: Any) -> int:
    return int(_with_word(tokenizer).convert_tokens_to_ids(WORD))


def _question(tokenizer: Any) -> tuple[list[int], tuple[int, int], int]:
    """Ids of the question (after an end token, as in LAVIS), of both answers, and of the end token.

    LAVIS' slow tokenizer splits the question at [*] and encodes each part by itself, without the blanks beside [*], so
    that "?" gets the prefix space of a text's beginning. Today's fast tokenizer does not, so it is done here.
    """
    end = tokenizer.eos_token_id
    before, after = (
        tokenizer(part.strip(), add_special_tokens=False)["input_ids"] for part in QUESTION.split(WORD)
    )
    ids = [*before, _place(tokenizer), *after]
    answers = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in ANSWERS]
    if end is None or any(len(tokens) != 1 for tokens in answers) or answers[0] == answers[1]:
        raise UsageError(
            "The tokenizer of InstructBLIP must hold yes and no as one token each, and an end token."
        )
    return [end, *ids], (answers[0][0], answers[1][0]), end


def _is_buffer(key: str) -> bool:
    return key.endswith(("position_ids", "inv_freq"))
