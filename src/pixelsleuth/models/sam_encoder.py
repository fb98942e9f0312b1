"""SAM's image encoder, faster on a CPU with the same output: attention without padded rows and without a whole table.

transformers computes what the paper describes (Kirillov et al., ICCV 2023): windows of 14 places, for which 64 places a
side are padded to 70, and four layers of global attention with a position table of heads x 4,096 x 4,096. Here

* queries, keys and values are projected before the picture is cut into windows, and the output after the windows are
  joined: 4,096 rows instead of 4,900 (what the padding projects to is the bias);
* global attention runs over a few rows of queries at a time, so that the table and the scores stay in the caches.

Neither changes a sum, so the output is equal bit by bit where the matrix library is indifferent to the number of rows
(tests/models/test_sam_encoder.py). `benchmarks/sida_inference.py --encoder` measures the gain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.sam.modeling_sam import SamVisionEncoder, SamVisionLayer

CPU_ROWS = 2
"""Rows of queries at a time in global attention on a CPU: 12 heads x 128 queries x 4,096 keys are 25 MB of scores."""


class FastSamLayer(SamVisionLayer):
    """A layer of SAM's encoder with the modules of `layer`, under the same parameter names.

    States are (B, H, W, C); a layer with `window_size` 0 attends to the whole picture.
    """

    def __init__(self, layer: SamVisionLayer) -> None:
        nn.Module.__init__(self)  # no parameters of its own
        for name, module in layer.named_children():
            self.add_module(name, module)
        self.window_size: int = layer.window_size
        self.train(layer.training)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = hidden_states.shape[1:3]
        projected = self.attn.qkv(self.layer_norm1(hidden_states))
        if self.window_size:
            windows = self._attend(self._cut(projected))
            attended = self._join(windows, height, width)
        else:
            attended = self._attend(projected)
        states = hidden_states + self.attn.proj(attended)
        return states + self.mlp(self.layer_norm2(states))

    def _cut(self, projected: Tensor) -> Tensor:
        """(B, H, W, 3 C) -> windows (B * N, side, side, 3 C); places beyond the picture are projected zeros."""
        side = self.window_size
        batch, height, width, channels = projected.shape
        padded_height, padded_width = height + -height % side, width + -width % side
        if (padded_height, padded_width) != (height, width):
            bias = self.attn.qkv.bias
            beyond = projected.new_zeros(channels) if bias is None else bias.to(projected.dtype)
            padded = beyond.expand(batch, padded_height, padded_width, channels).clone()
            padded[:, :height, :width] = projected
            projected = padded
        grid = projected.view(batch, padded_height // side, side, padded_width // side, side, channels)
        return grid.transpose(2, 3).reshape(-1, side, side, channels)

    def _join(self, windows: Tensor, height: int, width: int) -> Tensor:
        """Windows (B * N, side, side, C) -> (B, height, width, C), without what lies beyond the picture."""
        side = self.window_size
        down, across = -(-height // side), -(-width // side)
        grid = windows.view(-1, down, across, side, side, windows.shape[-1]).transpose(2, 3)
        return grid.reshape(-1, down * side, across * side, windows.shape[-1])[:, :height, :width]

    def _attend(self, projected: Tensor) -> Tensor:
        """Queries, keys and values (N, H, W, 3 C) -> attended values (N, H, W, C)."""
        attention = self.attn
        batch, height, width, _ = projected.shape
        parts = projected.view(batch, height * width, 3, attention.num_attention_heads, -1)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (N, heads, H * W, C / heads) each
        queries = queries.unflatten(2, (height, width))
        tables = self._tables(height, width)
        rows = CPU_ROWS if not self.window_size and not projected.is_cuda else height
        attended = []
        for first in range(0, height, rows):
            some = queries[:, :, first : first + rows]
            bias = position_bias(some, first, *tables) if tables else None
            attended.append(functional.scaled_dot_product_attention(some.flatten(2, 3), keys, values, bias))
        return torch.cat(attended, dim=2).transpose(1, 2).reshape(batch, height, width, -1)

    def _tables(self, height: int, width: int) -> tuple[Tensor, Tensor] | None:
        """Position vectors (H, H, C / heads) of rows and (W, W, C / heads) of columns, by query and key."""
        attention = self.attn
        if not attention.use_rel_pos:
            return None
        return (
            attention.get_rel_pos(height, height, attention.rel_pos_h),
            attention.get_rel_pos(width, width, attention.rel_pos_w),
        )


def position_bias(queries: Tensor, first: int, by_row: Tensor, by_column: Tensor) -> Tensor:
    """What positions add to the scores (N, heads, rows * W, H * W) of the rows of queries from `first` on.

    Args:
        queries: (N, heads, rows, W, C / heads).
        by_row: (H, H, C / heads), by_column: (W, W, C / heads), both by query and key.
    """
    down = torch.einsum("nahwc,hkc->nahwk", queries, by_row[first : first + queries.shape[2]])
    across = torch.einsum("nahwc,wkc->nahwk", queries, by_column)
    return (down[..., None] + across[..., None, :]).flatten(4).flatten(2, 3)


def hasten(encoder: SamVisionEncoder) -> SamVisionEncoder:
    """`encoder` itself, its layers replaced by fast ones with the same parameters."""
    for number, layer in enumerate(encoder.layers):
        encoder.layers[number] = FastSamLayer(layer)
    return encoder
