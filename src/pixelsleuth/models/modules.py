"""SIDA's own modules, the same at every size (paper section 4.1; names of the release's state dict in brackets)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

    `projection` says what the linear layer reads: the class logits (release) or the hidden state (paper). With a single
    [SEG] the softmax runs over one key, so the query cannot change the result; it matters from two on.

    `how` names the paper's ablations (section 5.4): `attention`; `none` leaves the mask query as it is; `linear` puts a
    fully connected layer over detection and mask query in the place of the attention. `tokens` is ours: the detection
    state attends over the picture, its dense features pooled to 8 x 8 tokens, and over the mask query, so that what was
    detected can say where to look.
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
    """The compact mask decoder: a query, added to a learned one, is compared with the dense features of every place."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.base = nn.Linear(out, 1)

    def forward(self, query: Tensor, dense: Tensor) -> Tensor:
        """Queries (B, S, out), dense features (B, out, h, w) -> mask logits (B, S, h, w)."""
        weight = self.base.weight + query
        return (weight[..., None, None] * dense[:, None]).sum(dim=2) + self.base.bias


class SamMaskDecoder(nn.Module):
    """SAM's mask decoder, asked with one fused query for each mask (transformers' own parts, single mask output)."""

    def __init__(self, side: int = 64, image: int = 1024, decoder: dict | None = None) -> None:
        """`side` is the embedding's (places), `image` the picture's (pixels); `decoder` sets SamMaskDecoderConfig."""
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
        """The mask logits, and for each mask the IoU that SAM expects of it, (B, S)."""
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
