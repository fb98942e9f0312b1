"""SIDA composed: an encoder's tokens in a language model, [CLS] read by a head, [SEG] fused and decoded to a mask.

The language model is transformers' own LLaMA at any size; the encoder and the mask decoder are given. Hidden states are
taken at the position that *predicts* a token (one before it), after the final norm, as the release does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from pixelsleuth.models.sida.modules import (
    DetectionFusion,
    DetectionHead,
    DetectionProjection,
    QueryMaskDecoder,
    SegmentationProjection,
)


@dataclass(frozen=True)
class SidaConfig:
    """Dimensions. `language` is passed to LlamaConfig; `token` is the width of the encoder's tokens."""

    token: int
    out: int
    heads: int = 8
    det_projection: DetectionProjection = "logits"
    language: dict = field(default_factory=dict)


@dataclass
class Answer:
    """class logits (B, 3), mask logits (B, 1, h, w), text logits (B, T, vocabulary) aligned with the answer's ids."""

    classes: Tensor
    mask: Tensor
    text: Tensor


class Sida(nn.Module):
    """Everything behind the encoder; `prefix` holds the ids before the image tokens."""

    def __init__(self, config: SidaConfig) -> None:
        super().__init__()
        self.config = config
        self.language = LlamaForCausalLM(LlamaConfig(**config.language))
        hidden = self.language.config.hidden_size
        self.projector = nn.Linear(config.token, hidden)
        self.detection = DetectionHead(hidden)
        self.segmentation = SegmentationProjection(hidden, config.out)
        self.fusion = DetectionFusion(
            config.out, config.heads, projection=config.det_projection, hidden=hidden
        )
        self.decoder = QueryMaskDecoder(config.out)

    def hidden_states(self, tokens: Tensor, prefix: Tensor, ids: Tensor) -> Tensor:
        """Image tokens (B, N, token) between prefix (P,) and ids (B, T) -> hidden states of `ids` (B, T, hidden)."""
        embed = self.language.get_input_embeddings()
        before = embed(prefix)[None].expand(tokens.shape[0], -1, -1)
        row = torch.cat([before, self.projector(tokens), embed(ids)], dim=1)
        position = torch.arange(row.shape[1], device=row.device)
        causal = torch.where(position[:, None] < position, torch.finfo(row.dtype).min, 0.0)[None, None].to(
            row.dtype
        )
        output = self.language.model(
            inputs_embeds=row, attention_mask=causal, position_ids=position[None], use_cache=False
        ).last_hidden_state
        return output[:, before.shape[1] + tokens.shape[1] :]

    def mask(self, classes: Tensor, detection: Tensor, segmentation: Tensor, dense: Tensor) -> Tensor:
        """Mask logits (B, 1, h, w) from class logits, both hidden states (B, hidden) and dense features."""
        query = self.fusion(classes, detection, self.segmentation(segmentation)[:, None])
        return self.decoder(query[:, 0], dense)

    def forward(
        self, tokens: Tensor, dense: Tensor, prefix: Tensor, ids: Tensor, cls_at: int, seg_at: Tensor
    ) -> Answer:
        """Teacher-forced pass; `cls_at` and `seg_at` (B,) index the positions in `ids` that predict [CLS] and [SEG]."""
        hidden = self.hidden_states(tokens, prefix, ids)
        detection = hidden[:, cls_at]
        segmentation = hidden[torch.arange(len(ids)), seg_at]
        classes = self.detection(detection)
        return Answer(
            classes, self.mask(classes, detection, segmentation, dense), self.language.lm_head(hidden)
        )
