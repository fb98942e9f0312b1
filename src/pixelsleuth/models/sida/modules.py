"""SIDA's own modules, the same at every size (paper section 4.1; names of the release's state dict in brackets)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

DetectionProjection = Literal["logits", "hidden"]


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
    """

    def __init__(
        self, out: int, heads: int, *, projection: DetectionProjection = "logits", hidden: int = 0
    ) -> None:
        super().__init__()
        self.projection = projection
        self.project = nn.Linear(3 if projection == "logits" else hidden, out)
        self.attention = nn.MultiheadAttention(out, heads, batch_first=True)

    def forward(self, logits: Tensor, hidden: Tensor, segmentation: Tensor) -> Tensor:
        """Logits (B, 3), detection state (B, hidden), mask queries (B, S, out) -> fused queries (B, S, out)."""
        query = self.project(logits if self.projection == "logits" else hidden)[:, None]
        attended, _ = self.attention(query, segmentation, segmentation, need_weights=False)
        return segmentation + attended


class QueryMaskDecoder(nn.Module):
    """The compact mask decoder: a query, added to a learned one, is compared with the dense features of every place."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.base = nn.Linear(out, 1)

    def forward(self, query: Tensor, dense: Tensor) -> Tensor:
        """Query (B, out), dense features (B, out, h, w) -> mask logits (B, 1, h, w)."""
        weight = self.base.weight + query
        return (weight[:, :, None, None] * dense).sum(dim=1, keepdim=True) + self.base.bias
