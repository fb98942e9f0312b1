"""Embeddings of SAM's frozen image encoder, kept on disk: the encoder runs once a picture in a whole training.

A file is named by a digest of the picture's pixels, its folder by one of the encoder's weights, so no embedding is
taken for another's. Embeddings are stored unrounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixelsleuth.core.io import write_bytes
from pixelsleuth.errors import OutputError
from pixelsleuth.models.sida.large import LargeSida


class SamCache:
    """Dense embeddings (C, h, w) by picture.

    Args:
        folder: where embeddings are kept; made with the first.
        model: its image encoder computes those that are missing.
    """

    def __init__(self, folder: Path, model: LargeSida) -> None:
        self.model = model
        self.folder = folder / encoder_digest(model)
        self.hits = self.misses = 0
        self.full = False

    @torch.no_grad()
    def dense(self, pictures: Sequence[np.ndarray], pixels: Tensor) -> Tensor:
        """Embeddings (M, C, h, w) of M pictures (H, W, 3) uint8, whose SAM pixels are `pixels` (M, 3, side, side)."""
        paths = [self._path(picture) for picture in pictures]
        embeddings = []
        for i, path in enumerate(paths):
            kept = _read(path)
            if kept is None:  # one by one: what a picture gets must not depend on its neighbours
                self.misses += 1
                embeddings.append(self.model.dense(pixels[i : i + 1])[0])
                self._write(path, embeddings[-1])
            else:
                self.hits += 1
                embeddings.append(kept.to(pixels.device))
        return torch.stack(embeddings)

    def _path(self, picture: np.ndarray) -> Path:
        name = hashlib.sha256(
            repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()
        ).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _write(self, path: Path, value: Tensor) -> None:
        from safetensors.torch import save

        if self.full:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, save({"dense": value.detach().cpu().contiguous()}))
        except (OSError, OutputError):
            self.full = True  # a full disk costs time, not the training


def _read(path: Path) -> Tensor | None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())["dense"]
    except (OSError, SafetensorError, KeyError):
        return None


@torch.no_grad()
def encoder_digest(model: LargeSida) -> str:
    """A short digest of the image encoder's weights and precision."""
    digest = hashlib.sha256()
    for name, value in model.sam.state_dict().items():
        sums = value.double().sum().item(), value.double().abs().sum().item()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} {sums}".encode())
    return digest.hexdigest()[:16]
