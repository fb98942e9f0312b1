"""Two SegFormer-B2 encoders side by side, rectified and fused after each stage (CMX, Zhang et al. 2023), for TruFor.

Parameters have the names of TruFor's checkpoint; the second encoder's have the prefix `extra_`. LayerNorm's eps is not
in a checkpoint: it is 1e-6 in the blocks and after the stages, 1e-5 elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 128, 320, 512)
DEPTHS = (3, 4, 6, 3)
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
"""The factor by which keys and values are coarser than queries, in each direction."""
SIDES = ("", "extra_")
"""Prefixes of the encoder of colours and of the encoder of the noise residual."""


def tokens_of(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w, C)."""
    return x.flatten(2).transpose(1, 2)


def map_of(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h w, C) -> (B, C, h, w)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *size)


class PatchEmbedding(nn.Module):
    """Overlapping patches by a strided convolution."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inside, outside, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(outside)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, H, W) -> tokens (B, h w, outside) and their (h, w)."""
        x = self.proj(x)
        return self.norm(tokens_of(x)), (x.shape[-2], x.shape[-1])


class ReducedAttention(nn.Module):
    """Self-attention whose keys and values come from a coarser grid."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.coarser = reduction > 1
        if self.coarser:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) -> the same shape."""
        reduced = self.norm(tokens_of(self.sr(map_of(x, size)))) if self.coarser else x
        query = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.kv(reduced).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class DepthwiseConvolution(nn.Module):
    """3x3, each channel by itself (its own module because the checkpoints name it twice)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) -> the same shape."""
        return tokens_of(self.dwconv(map_of(x, size)))


class FeedForward(nn.Module):
    """Linear, depthwise 3x3, GELU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.dwconv = DepthwiseConvolution(4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) -> the same shape."""
        out: Tensor = self.fc2(F.gelu(self.dwconv(self.fc1(x), size)))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each behind its norm and with a shortcut; in training a share `drop` of the
    pictures takes the shortcut alone."""

    def __init__(self, width: int, heads: int, reduction: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = ReducedAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width)
        self.drop = drop

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) -> the same shape."""
        x = x + self._kept(self.attn(self.norm1(x), size))
        return x + self._kept(self.mlp(self.norm2(x), size))

    def _kept(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop
        return branch * kept / (1 - self.drop)


class ChannelWeights(nn.Module):
    """The share that each channel of one side takes from the other: mean and maximum of both, through two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(4 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, 2 * width), nn.Sigmoid()
        )

    def forward(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2 C, h, w) -> two of (B, C, 1, 1)."""
        pooled = torch.cat([both.mean(dim=(-2, -1)), both.amax(dim=(-2, -1))], dim=1)
        first, second = self.mlp(pooled)[..., None, None].chunk(2, dim=1)
        return first, second


class PlaceWeights(nn.Module):
    """The share that each place of one side takes from the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(2 * width, width, 1), nn.ReLU(), nn.Conv2d(width, 2, 1), nn.Sigmoid()
        )

    def forward(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2 C, h, w) -> two of (B, 1, h, w)."""
        first, second = self.mlp(both).chunk(2, dim=1)
        return first, second


class Rectification(nn.Module):
    """Each side gets a weighted share of the other (CMX's feature rectification module)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channel_weights = ChannelWeights(width)
        self.spatial_weights = PlaceWeights(width)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Two maps (B, C, h, w) -> two of the same shape."""
        both = torch.cat([first, second], dim=1)
        by_channel, by_place = self.channel_weights(both), self.spatial_weights(both)
        to_first = 0.5 * by_channel[1] * second + 0.5 * by_place[1] * second
        to_second = 0.5 * by_channel[0] * first + 0.5 * by_place[0] * first
        return first + to_first, second + to_second


class SwappedContext(nn.Module):
    """Linear attention with the other side's context: keys and values are reduced to a small matrix a head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.kv1 = nn.Linear(width, 2 * width, bias=False)
        self.kv2 = nn.Linear(width, 2 * width, bias=False)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Two of (B, N, C) -> two of the same shape."""
        contexts = []
        for linear, tokens in ((self.kv1, first), (self.kv2, second)):
            key, value = linear(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
            scale = key.shape[-1] ** -0.5
            contexts.append(((key.transpose(-2, -1) @ value) * scale).softmax(dim=-2))
        queries = [tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tokens in (first, second)]
        swapped = [q @ c for q, c in zip(queries, reversed(contexts), strict=True)]
        return swapped[0].transpose(1, 2).flatten(2), swapped[1].transpose(1, 2).flatten(2)


class CrossPath(nn.Module):
    """Half of each side's projection is exchanged through the other's context."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.channel_proj1 = nn.Linear(width, 2 * width)
        self.channel_proj2 = nn.Linear(width, 2 * width)
        self.cross_attn = SwappedContext(width, heads)
        self.end_proj1 = nn.Linear(2 * width, width)
        self.end_proj2 = nn.Linear(2 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Two of (B, N, C) -> two of the same shape."""
        own1, given1 = F.relu(self.channel_proj1(first)).chunk(2, dim=-1)
        own2, given2 = F.relu(self.channel_proj2(second)).chunk(2, dim=-1)
        got1, got2 = self.cross_attn(given1, given2)
        out1 = self.norm1(first + self.end_proj1(torch.cat([own1, got1], dim=-1)))
        out2 = self.norm2(second + self.end_proj2(torch.cat([own2, got2], dim=-1)))
        return out1, out2


class ChannelEmbedding(nn.Module):
    """Both sides' channels become one side's: a depthwise bottleneck beside a linear shortcut."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.residual = nn.Conv2d(inside, outside, 1, bias=False)
        self.channel_embed = nn.Sequential(
            nn.Conv2d(inside, outside, 1),
            nn.Conv2d(outside, outside, 3, padding=1, groups=outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 1),
            nn.BatchNorm2d(outside),
        )
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, h, w) -> (B, outside, h, w)."""
        out: Tensor = self.norm(self.residual(x) + self.channel_embed(x))
        return out


class Fusion(nn.Module):
    """Two maps become one (CMX's feature fusion module)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.cross = CrossPath(width, heads)
        self.channel_emb = ChannelEmbedding(2 * width, width)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two of (B, C, h, w) -> one of the same shape."""
        size = (first.shape[-2], first.shape[-1])
        crossed = torch.cat(self.cross(tokens_of(first), tokens_of(second)), dim=-1)
        fused: Tensor = self.channel_emb(map_of(crossed, size))
        return fused


class DualEncoder(nn.Module):
    """Two encoders of four stages; the rectified maps go on, the fused ones come out."""

    def __init__(self, drop: float = 0.1) -> None:
        super().__init__()
        drops = [drop * i / (sum(DEPTHS) - 1) for i in range(sum(DEPTHS))]
        inside = 3
        for stage, (width, depth, heads, reduction) in enumerate(
            zip(WIDTHS, DEPTHS, HEADS, REDUCTIONS, strict=True), start=1
        ):
            shape = (7, 4) if stage == 1 else (3, 2)
            here = [drops.pop(0) for _ in range(depth)]
            for side in SIDES:
                blocks = nn.ModuleList(Block(width, heads, reduction, share) for share in here)
                setattr(self, f"{side}patch_embed{stage}", PatchEmbedding(inside, width, *shape))
                setattr(self, f"{side}block{stage}", blocks)
                setattr(self, f"{side}norm{stage}", nn.LayerNorm(width, eps=1e-6))
            inside = width
        self.FRMs = nn.ModuleList(Rectification(width) for width in WIDTHS)
        self.FFMs = nn.ModuleList(Fusion(*pair) for pair in zip(WIDTHS, HEADS, strict=True))

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Two of (B, 3, H, W) -> four fused maps at 1/4, 1/8, 1/16, 1/32 (rounded up)."""
        fused = []
        for stage, (rectify, fuse) in enumerate(zip(self.FRMs, self.FFMs, strict=True), start=1):
            first = self._stage(stage, SIDES[0], first)
            second = self._stage(stage, SIDES[1], second)
            first, second = rectify(first, second)
            fused.append(fuse(first, second))
        return fused

    def _stage(self, stage: int, side: str, x: Tensor) -> Tensor:
        tokens, size = self.get_submodule(f"{side}patch_embed{stage}")(x)
        blocks = self.get_submodule(f"{side}block{stage}")
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            tokens = block(tokens, size)
        return map_of(self.get_submodule(f"{side}norm{stage}")(tokens), size)
