"""Rows of token ids for the compact model: the prompt after the picture, the answer, and what is to be predicted."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelsleuth.compact.grammar import ANSWERS, IDS, PROMPT_AFTER, PROMPT_BEFORE, encode
from pixelsleuth.core.verdict import LABELS

IGNORE = -100
PREFIX = tuple(IDS[word] for word in PROMPT_BEFORE)
PROMPT = tuple(IDS[word] for word in PROMPT_AFTER)
CLS_AT = len(PROMPT) - 1
"""The position, counted from the first id after the picture, that predicts [CLS]."""


def answer_ids(label: str, text: str = "") -> list[int]:
    """`[CLS] the picture is LABEL [SEG] TEXT [END]`; [SEG] stands in tampered answers alone."""
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
