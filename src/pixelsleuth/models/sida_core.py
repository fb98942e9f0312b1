"""SIDA behind the picture encoder, the same at every size: its modules (paper, section 4.1), and how they are composed.

The language model is transformers' own LLaMA. A head reads `[CLS]`; `[SEG]` is fused with the detection and decoded to
a mask. Hidden states are taken at the position that *predicts* a token (one before it), after the final norm, as the
release does. Names in brackets are those of the release's state dict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

DetectionProjection = Literal["logits", "hidden"]
Fusion = Literal["attention", "none", "linear", "tokens"]

CELLS = 8
"""The dense features are pooled to CELLS x CELLS picture tokens for `fusion: tokens`."""
DECODER_EPS = 1e-5
"""Of LayerNorm in segment-anything's mask decoder; transformers' default, 1e-6, moves mask logits by 1e-4."""


class DetectionHead(nn.Sequential):
    """Class logits from the hidden state that predicts [CLS]: (..., hidden) -> (..., 3) [cls_head]."""

    def __init__(self, hidden: int, classes: int = 3) -> None:
        super().__init__(
            nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Dropout(0.0), nn.Linear(hidden // 2, classes)
        )


class SegmentationProjection(nn.Sequential):
    """Mask query from the hidden state that predicts [SEG]: (..., hidden) -> (..., out) [text_hidden_fcs]."""

    def __init__(self, hidden: int, out: int) -> None:
        super().__init__(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out), nn.Dropout(0.0))


class DetectionFusion(nn.Module):
    """Fuse detection into the mask query by attention and a shortcut (equation 3) [sida_fc1, attention_layer].

    `projection` is the input of the linear layer: the class logits (release) or the hidden state (paper). With a single
    [SEG] the softmax runs over one key, so the query cannot change the result; it matters from two on.

    `how` names the paper's ablations (section 5.4): `attention`; `none` keeps the mask query as it is; `linear` puts a
    fully connected layer over detection and mask query in place of the attention. `tokens` is ours: the detection state
    attends over the mask query and over the picture, its dense features pooled to 8 x 8 tokens, so that the detection
    can guide the mask.
    """

    def __init__(
        self,
        out: int,
        heads: int,
        *,
        projection: DetectionProjection = "logits",
        hidden: int = 0,
        how: Fusion = "attention",
    ) -> None:
        super().__init__()
        self.projection, self.how = projection, how
        if how != "none":
            self.project = nn.Linear(3 if projection == "logits" else hidden, out)
        if how == "tokens":
            self.picture = nn.Linear(out, out)
        if how in ("attention", "tokens"):
            self.attention = nn.MultiheadAttention(out, heads, batch_first=True)
        elif how == "linear":
            self.connected = nn.Linear(2 * out, out)

    def forward(
        self, logits: Tensor, hidden: Tensor, segmentation: Tensor, dense: Tensor | None = None
    ) -> Tensor:
        """Logits (B, 3), detection state (B, hidden), mask queries (B, S, out) -> fused queries (B, S, out).

        `tokens` also reads the dense features (B, out, h, w).
        """
        if self.how == "none":
            return segmentation
        query = self.project(logits if self.projection == "logits" else hidden)[:, None]
        if self.how == "linear":
            return segmentation + self.connected(
                torch.cat([query.expand_as(segmentation), segmentation], dim=-1)
            )
        keys = segmentation
        if self.how == "tokens":
            assert dense is not None
            keys = torch.cat([segmentation, self.picture(picture_tokens(dense))], dim=1)
        attended, _ = self.attention(query, keys, keys, need_weights=False)
        return segmentation + attended


def picture_tokens(dense: Tensor) -> Tensor:
    """Dense features (B, C, h, w) sampled and pooled to tokens (B, CELLS * CELLS, C), whatever the picture's size."""
    side = (4 * CELLS, 4 * CELLS)
    sampled = F.interpolate(dense, size=side, mode="bilinear", align_corners=False)
    return F.avg_pool2d(sampled, 4).flatten(2).transpose(1, 2)


class QueryMaskDecoder(nn.Module):
    """The compact mask decoder: a query, added to a learned one, times the dense features of every place."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.base = nn.Linear(out, 1)

    def forward(self, query: Tensor, dense: Tensor) -> Tensor:
        """Queries (B, S, out), dense features (B, out, h, w) -> mask logits (B, S, h, w)."""
        weight = self.base.weight + query
        return (weight[..., None, None] * dense[:, None]).sum(dim=2) + self.base.bias


class SamMaskDecoder(nn.Module):
    """SAM's mask decoder (transformers' parts, single mask output) with a fused query for each mask [visual_model]."""

    def __init__(self, side: int = 64, image: int = 1024, decoder: dict | None = None) -> None:
        """`side` of the embedding, `image` side of the picture in pixels, `decoder` values of SamMaskDecoderConfig."""
        from transformers import SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig
        from transformers.models.sam import modeling_sam

        super().__init__()
        config = SamMaskDecoderConfig(**({"layer_norm_eps": DECODER_EPS} | (decoder or {})))
        config._attn_implementation = "sdpa"
        out = config.hidden_size
        prompts = SamPromptEncoderConfig(hidden_size=out, image_size=image, patch_size=image // side)
        self.side = side
        self.positions = modeling_sam.SamPositionalEmbedding(
            SamVisionConfig(num_pos_feats=out // 2, hidden_size=out)
        )
        self.no_mask = nn.Embedding(1, prompts.hidden_size)
        self.decoder = modeling_sam.SamMaskDecoder(config)

    def forward(self, query: Tensor, dense: Tensor) -> Tensor:
        """Queries (B, S, out), embeddings (B, out, side, side) -> mask logits (B, S, 4 side, 4 side)."""
        return self.with_quality(query, dense)[0]

    def with_quality(self, query: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """The mask logits, and the IoU that SAM predicts for each mask, (B, S)."""
        weight = self.no_mask.weight
        middle = (torch.arange(self.side, device=dense.device, dtype=torch.float32) + 0.5) / self.side
        grid = torch.stack(torch.meshgrid(middle, middle, indexing="xy"), dim=-1).to(dense.dtype)
        places = self.positions(grid).permute(2, 0, 1)[None].expand(len(dense), -1, -1, -1)
        masks, quality = self.decoder(
            image_embeddings=dense,
            image_positional_embeddings=places,
            sparse_prompt_embeddings=query[:, :, None],
            dense_prompt_embeddings=weight.reshape(1, -1, 1, 1).expand_as(dense),
            multimask_output=False,
        )
        return masks[:, :, 0], quality[:, :, 0]


@dataclass(frozen=True)
class SidaConfig:
    """Dimensions. `language` is passed to LlamaConfig, `mask` to SamMaskDecoder. `token` is the width of the encoder's
    tokens, `out` that of the mask query. Without `detection` there is no class head (LISA), and `fusion` is `none`."""

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
    """Keys and values of what the language model has read, and which positions are valid, (B, S) bool."""

    cache: DynamicCache
    valid: Tensor

    @property
    def lengths(self) -> Tensor:
        """Number of valid positions, (B,)."""
        return self.valid.sum(dim=1)

    def copy(self, rows: int) -> Context:
        """A context of one row, repeated for `rows` rows."""
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
        """Read embeddings (B, T, hidden) behind `context` -> hidden states (B, T, hidden) and the longer context.

        `valid` (B, T) is False on padding, which may lie at the right of any row; what is read later does not attend to
        it.
        """
        if valid is None:
            valid = torch.ones(row.shape[:2], dtype=torch.bool, device=row.device)
        before = context.lengths if context is not None else torch.zeros_like(valid[:, 0], dtype=torch.long)
        keys = torch.cat([context.valid, valid], dim=1) if context is not None else valid
        places = torch.arange(keys.shape[1], device=row.device)
        visible = (places <= places[-row.shape[1] :, None]) & keys[:, None]
        mask = torch.zeros(visible.shape, dtype=row.dtype, device=row.device)
        mask = mask.masked_fill(~visible, torch.finfo(row.dtype).min)[:, None]
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

        Without a cache, for training and export: the exporter's tracer accepts this form of the mask.
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
        """Teacher-forced pass; `cls_at` and `seg_at` (B) are the positions in `ids` that predict [CLS] and [SEG]."""
        hidden = self.hidden_states(tokens, prefix, ids)
        detection = hidden[:, cls_at]
        segmentation = hidden[torch.arange(len(ids)), seg_at][:, None]
        classes = self.detection(detection)
        return Answer(
            classes, self.mask(classes, detection, segmentation, dense), self.language.lm_head(hidden)
        )
