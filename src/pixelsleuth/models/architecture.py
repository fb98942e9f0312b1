"""SIDA composed: an encoder's tokens in a language model, [CLS] read by a head, [SEG] fused and decoded to a mask.

The language model is transformers' own LLaMA at any size; encoder and mask decoder are chosen by configuration. Hidden
states are taken at the position that *predicts* a token (one before it), after the final norm, as the release does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from pixelsleuth.models.modules import (
    DetectionFusion,
    DetectionHead,
    DetectionProjection,
    Fusion,
    QueryMaskDecoder,
    SamMaskDecoder,
    SegmentationProjection,
)


@dataclass(frozen=True)
class SidaConfig:
    """Dimensions. `language` is passed to LlamaConfig, `mask` to SamMaskDecoder; `token` is the width of the encoder's
    tokens, `out` that of the mask query. Without `detection` there is no class head (LISA); `fusion` is then `none`."""

    token: int
    out: int
    heads: int = 8
    det_projection: DetectionProjection = "logits"
    fusion: Fusion = "attention"
    decoder: Literal["query", "sam"] = "query"
    detection: bool = True
    language: dict = field(default_factory=dict)
    mask: dict = field(default_factory=dict)


@dataclass
class Answer:
    """class logits (B, 3), mask logits (B, 1, h, w), text logits (B, T, vocabulary) aligned with the answer's ids."""

    classes: Tensor
    mask: Tensor
    text: Tensor


@dataclass
class Context:
    """What the language model has read: its keys and values, and which of these positions count, (B, S) bool."""

    cache: DynamicCache
    valid: Tensor

    @property
    def lengths(self) -> Tensor:
        """Positions that count, (B,)."""
        return self.valid.sum(dim=1)

    def copy(self, rows: int) -> Context:
        """The same context for `rows` rows; it must hold one row."""
        cache = DynamicCache()
        for index, layer in enumerate(self.cache.layers):
            keys, values = (part.expand(rows, -1, -1, -1) for part in (layer.keys, layer.values))
            cache.update(keys, values, index)
        return Context(cache, self.valid.expand(rows, -1))

    def pick(self, rows: Tensor) -> Context:
        """The context of some rows."""
        cache = DynamicCache()
        for index, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[rows], layer.values[rows], index)
        return Context(cache, self.valid[rows])


class Sida(nn.Module):
    """Everything behind the encoder; `prefix` holds the ids before the image tokens."""

    def __init__(self, config: SidaConfig) -> None:
        super().__init__()
        self.config = config
        self.language = LlamaForCausalLM(LlamaConfig(**config.language))
        hidden = self.language.config.hidden_size
        self.projector = nn.Linear(config.token, hidden)
        if config.detection:
            self.detection = DetectionHead(hidden)
        self.segmentation = SegmentationProjection(hidden, config.out)
        self.fusion = DetectionFusion(
            config.out, config.heads, projection=config.det_projection, hidden=hidden, how=config.fusion
        )
        self.decoder: nn.Module = (
            QueryMaskDecoder(config.out) if config.decoder == "query" else SamMaskDecoder(**config.mask)
        )

    def embed(self, ids: Tensor) -> Tensor:
        """Ids (..., T) -> embeddings (..., T, hidden)."""
        return self.language.get_input_embeddings()(ids)

    def read(
        self, row: Tensor, valid: Tensor | None = None, context: Context | None = None
    ) -> tuple[Tensor, Context]:
        """Read on: embeddings (B, T, hidden) behind `context` -> hidden states (B, T, hidden), longer context.

        `valid` (B, T) is False on padding, which may stand at the right of any row: later rows see through it.
        """
        if valid is None:
            valid = torch.ones(row.shape[:2], dtype=torch.bool, device=row.device)
        before = context.lengths if context is not None else torch.zeros_like(valid[:, 0], dtype=torch.long)
        keys = torch.cat([context.valid, valid], dim=1) if context is not None else valid
        places = torch.arange(keys.shape[1], device=row.device)
        seen = (places <= places[-row.shape[1] :, None]) & keys[:, None]
        mask = torch.zeros(seen.shape, dtype=row.dtype, device=row.device)
        mask = mask.masked_fill(~seen, torch.finfo(row.dtype).min)[:, None]
        positions = before[:, None] + (valid.cumsum(dim=1) - 1).clamp_min(0)
        cache = context.cache if context is not None else DynamicCache()
        hidden = self.language.model(
            inputs_embeds=row,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return hidden, Context(cache, keys)

    def hidden_states(self, tokens: Tensor, prefix: Tensor, ids: Tensor) -> Tensor:
        """Image tokens (B, N, token) between prefix (P,) and ids (B, T) -> hidden states of `ids` (B, T, hidden).

        Without a cache: for training and export, whose tracer takes this form of the mask.
        """
        before = self.embed(prefix)[None].expand(tokens.shape[0], -1, -1)
        row = torch.cat([before, self.projector(tokens), self.embed(ids)], dim=1)
        position = torch.arange(row.shape[1], device=row.device)
        causal = torch.where(position[:, None] < position, torch.finfo(row.dtype).min, 0.0)[None, None].to(
            row.dtype
        )
        output = self.language.model(
            inputs_embeds=row, attention_mask=causal, position_ids=position[None], use_cache=False
        ).last_hidden_state
        return output[:, before.shape[1] + tokens.shape[1] :]

    def query(self, classes: Tensor, detection: Tensor, segmentation: Tensor, dense: Tensor) -> Tensor:
        """Class logits (B, 3), detection state (B, hidden), states of S [SEG] (B, S, hidden), dense features -> queries
        (B, S, out)."""
        return self.fusion(classes, detection, self.segmentation(segmentation), dense)

    def mask(self, classes: Tensor, detection: Tensor, segmentation: Tensor, dense: Tensor) -> Tensor:
        """Mask logits (B, S, h, w) from class logits (B, 3), the detection state (B, hidden), the states of S [SEG]
        (B, S, hidden) and dense features (B, C, h', w')."""
        return self.decoder(self.query(classes, detection, segmentation, dense), dense)

    def forward(
        self, tokens: Tensor, dense: Tensor, prefix: Tensor, ids: Tensor, cls_at: int, seg_at: Tensor
    ) -> Answer:
        """Teacher-forced pass; `cls_at` and `seg_at` (B,) index the positions in `ids` that predict [CLS] and [SEG]."""
        hidden = self.hidden_states(tokens, prefix, ids)
        detection = hidden[:, cls_at]
        segmentation = hidden[torch.arange(len(ids)), seg_at][:, None]
        classes = self.detection(detection)
        return Answer(
            classes, self.mask(classes, detection, segmentation, dense), self.language.lm_head(hidden)
        )
