"""Embeddings of SAM's frozen image encoder, kept on disk: it looks at each picture once in a whole training.

A file is named by the pixels that it stands for, inside a folder named by the encoder's weights, so that another
checkpoint or another picture never finds a wrong one. What is stored is what the encoder gave, unrounded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixelsleuth.models.sida.large import LargeSida


class SamCache:
    """Dense embeddings (C, h, w) by picture.

    Args:
        folder: where they lie; made when the first is written.
        model: whose image encoder is asked for what is not there yet.
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
        found: dict[int, Tensor] = {}
        for i, path in enumerate(paths):
            value = _read(path)
            if value is not None:
                found[i] = value.to(pixels.device)
        lacking = [i for i in range(len(paths)) if i not in found]
        self.hits += len(found)
        self.misses += len(lacking)
        for i in lacking:  # one by one: what a picture gets must not depend on its neighbours
            found[i] = self.model.dense(pixels[i : i + 1])[0]
            self._write(paths[i], found[i])
        return torch.stack([found[i] for i in range(len(paths))])

    def _path(self, picture: np.ndarray) -> Path:
        name = hashlib.sha256(
            repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()
        ).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _write(self, path: Path, value: Tensor) -> None:
        from safetensors.torch import save

        if self.full:
            return
        partial = path.with_name(f"{path.stem}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(save({"dense": value.detach().cpu().contiguous()}))
            os.replace(partial, path)
        except OSError:
            self.full = True  # a full disk costs time, not the training
            partial.unlink(missing_ok=True)


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
