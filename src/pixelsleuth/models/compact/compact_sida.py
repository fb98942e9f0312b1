"""The compact SIDA: SIDA's modules at a laptop's size behind the forensic encoder, and its rows of token ids.

A checkpoint is a folder with `config.json` and `model.safetensors`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from pixelsleuth.compact.grammar import ANSWERS, IDS, PROMPT_AFTER, PROMPT_BEFORE, VOCABULARY, encode
from pixelsleuth.core.io import write_bytes, write_text
from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import UsageError
from pixelsleuth.models.compact.forensic import ForensicConfig, ForensicEncoder
from pixelsleuth.models.precision import ensure_room
from pixelsleuth.models.sida_core import Answer, Fusion, Sida, SidaConfig
from pixelsleuth.models.tensor_files import read_tensors
from pixelsleuth.models.weights import ensure_finite, ensure_fits, read_config, shapes_of

IGNORE = -100
"""The target that cross entropy leaves out."""
PREFIX = tuple(IDS[word] for word in PROMPT_BEFORE)
PROMPT = tuple(IDS[word] for word in PROMPT_AFTER)
CLS_AT = len(PROMPT) - 1
"""The position, counted from the first id after the picture, that predicts [CLS]."""
LANGUAGE = {
    "vocab_size": len(VOCABULARY), "hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256, "attn_implementation": "sdpa",
}  # fmt: skip


class CompactSida(nn.Module):
    """The forensic `encoder`, and `sida` behind it."""

    prefix: Tensor

    def __init__(self, encoder: ForensicEncoder | None = None, config: SidaConfig | None = None) -> None:
        super().__init__()
        self.encoder = encoder or ForensicEncoder()
        self.sida = Sida(config or compact_config(self.encoder.config))
        self.register_buffer("prefix", torch.tensor(PREFIX), persistent=False)

    def answer(self, tokens: Tensor, dense: Tensor, ids: Tensor, seg_at: Tensor) -> Answer:
        """Teacher-forced answer on encoded pictures; `ids` (B, T) follow the picture."""
        return self.sida(tokens, dense, self.prefix, ids, CLS_AT, seg_at)


def compact_config(dims: ForensicConfig, fusion: Fusion = "tokens") -> SidaConfig:
    """The dimensions of `Sida` behind an encoder."""
    return SidaConfig(token=dims.token, out=dims.dense, heads=4, fusion=fusion, language=LANGUAGE)


def save_compact(model: CompactSida, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, each whole or not at all."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "pixelsleuth_compact", "encoder": dataclasses.asdict(model.encoder.config)}
    config |= {"sida": dataclasses.asdict(model.sida.config), "vocabulary": VOCABULARY}
    write_text(folder / "config.json", json.dumps(config, indent=1))
    write_bytes(folder / "model.safetensors", save(model.state_dict()))


def load_compact(folder: Path) -> CompactSida:
    """The model that `save_compact` wrote, in evaluation mode.

    Raises:
        UsageError: the folder is no such checkpoint, another version's, damaged or not finite.
    """
    config, weights = read_config(folder), folder / "model.safetensors"
    if config.get("vocabulary") != VOCABULARY:
        raise UsageError(f"{folder} was trained with another vocabulary: train it again with this version.")
    if not weights.is_file():
        raise UsageError(f"{folder} lacks {weights.name}: copy the whole checkpoint.")
    tensors = read_tensors(weights)
    try:
        encoder, sida = ForensicConfig(**config["encoder"]), SidaConfig(**config["sida"])
        with torch.device("meta"):  # nothing is allocated before the memory is known to suffice
            described = CompactSida(ForensicEncoder(encoder), sida)
        ensure_room(sum(p.numel() for p in described.parameters()), str(folder))
        model = CompactSida(ForensicEncoder(encoder), sida)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder} holds no whole checkpoint of this version ({error}): copy or train it again."
        ) from error
    ensure_fits(str(folder), "this model", model, shapes_of(tensors))
    ensure_finite(tensors.items(), str(folder))
    model.load_state_dict(tensors)
    return model.eval()


def answer_ids(label: str, text: str = "") -> list[int]:
    """Ids of `[CLS] the picture is LABEL [SEG] TEXT [END]`; only tampered answers have [SEG]."""
    seg = [IDS["[SEG]"]] if label == "tampered" else []
    return [IDS["[CLS]"], *encode(ANSWERS[label]), *seg, *encode(text), *([IDS["[END]"]] if text else [])]


def target_rows(records: list[dict]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids (N, T), targets (N, T) shifted by one with IGNORE outside the answer, and [SEG] positions (N,).

    For a picture that is not tampered the position is where [SEG] *would* be predicted: the end of the class word, so
    that the mask of an authentic picture can be trained to be empty.
    """
    rows, targets, positions = [], [], []
    for record in records:
        name = LABELS[record["label"]].value
        row = [*PROMPT, *answer_ids(name, record["text"])]
        rows.append(row[:-1])
        targets.append([IGNORE] * CLS_AT + row[CLS_AT + 1 :])
        positions.append(len(PROMPT) + len(encode(ANSWERS[name])))
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    shifted = torch.tensor([row + [IGNORE] * (length - len(row)) for row in targets])
    return ids, shifted, torch.tensor(positions)
