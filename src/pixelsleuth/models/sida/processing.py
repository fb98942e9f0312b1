"""From a picture and a question to tensors: CLIP's pixels, SAM's pixels, token ids. No torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelsleuth.errors import UsageError
from pixelsleuth.models.sida.prompts import MARKS, TEMPLATES, prompt
from pixelsleuth.models.weights import read_json

if TYPE_CHECKING:
    from pixelsleuth.models.sida.tokenizer import LegacyTokenizer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Ids:
    """A prompt around its picture: ids `before` the picture's tokens and `after` them."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class SidaProcessor:
    """Pixels and ids for one checkpoint.

    Args:
        tokenizer: the checkpoint's own.
        clip_side: side of CLIP's input in pixels.
        sam_side: side of SAM's input in pixels.
        template: a key of `prompts.TEMPLATES`.
        context: ids and picture tokens that fit into the language model.
        picture_tokens: tokens that one picture takes.
        marked: whether the picture stands between `<im_start>` and `<im_end>` in the prompt.

    Raises:
        UsageError: an unknown template, or the tokenizer lacks the marks.
    """

    def __init__(
        self,
        tokenizer: LegacyTokenizer,
        *,
        clip_side: int = 224,
        sam_side: int = 1024,
        template: str = "llava_v1",
        context: int = 2048,
        picture_tokens: int = 256,
        marked: bool = True,
    ) -> None:
        if template not in TEMPLATES:
            raise UsageError(f"Unknown template {template!r}; choose one of {', '.join(TEMPLATES)}.")
        lacking = [mark for mark in MARKS if marked and mark not in tokenizer.added]
        if lacking:
            raise UsageError(
                f"The checkpoint was trained with {' and '.join(MARKS)} around the picture (mm_use_im_start_end), and "
                f"the tokenizer lacks {' and '.join(lacking)}: take the tokenizer files of the same folder."
            )
        self.tokenizer = tokenizer
        self.template = TEMPLATES[template]
        self.clip_side, self.sam_side = clip_side, sam_side
        self.context, self.picture_tokens, self.marked = context, picture_tokens, marked

    def ids(self, question: str, answer: str = "") -> Ids:
        """The ids of one round, prompt and answer. The two are tokenized apart, as in the release.

        Raises:
            UsageError: the row is longer than the language model's context.
        """
        before, _, after = prompt(question, self.template, marked=self.marked).partition("<image>")
        if answer:
            after += f" {answer}{self.template.end}"
        row = Ids(tuple(self.tokenizer.encode(before)), tuple(self.tokenizer.encode(after, bos=False)))
        length = len(row.before) + self.picture_tokens + len(row.after)
        if length > self.context:
            raise UsageError(
                f"The prompt takes {length} tokens with its picture and the model reads {self.context}: shorten the "
                "question."
            )
        return row

    def clip(self, pixels: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (3, side, side) float32: shorter side to `side` (bicubic), centre cut, normalised."""
        side = self.clip_side
        pixels = _not_longer(pixels, 64)
        height, width = pixels.shape[:2]
        shorter, longer = min(height, width), max(height, width)
        length = int(side * longer / shorter)
        size = (side, length) if width <= height else (length, side)
        resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
        centre = resized[top : top + side, left : left + side].astype(np.float32) / 255
        values = (centre - np.array(CLIP_MEAN, np.float32)) / np.array(CLIP_STD, np.float32)
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))

    def sam_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width once the longer side is `sam_side`."""
        scale = self.sam_side / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def sam(self, pixels: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (3, side, side) float32: resized (bilinear, uint8), normalised, padded right and below."""
        height, width = self.sam_size(*pixels.shape[:2])
        resized = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        values = (resized.astype(np.float32) - np.array(SAM_MEAN, np.float32)) / np.array(SAM_STD, np.float32)
        padded = torch.zeros(3, self.sam_side, self.sam_side)
        padded[:, :height, :width] = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
        return padded

    def mask_logits(self, low: Tensor, height: int, width: int) -> Tensor:
        """SAM's low-resolution logits (S, h, w) -> (S, height, width): up to `sam_side`, padding cut off, resized."""
        resized = torch.nn.functional.interpolate(
            low[None].float(), (self.sam_side, self.sam_side), mode="bilinear", align_corners=False
        )
        rows, columns = self.sam_size(height, width)
        cut = resized[..., :rows, :columns]
        return torch.nn.functional.interpolate(cut, (height, width), mode="bilinear", align_corners=False)[0]


def padded(rows: Sequence[Sequence[int]], device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Rows of ids as ids (B, T), zeros at the right, and where they are valid, (B, T) bool."""
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], device=device)
    lengths = torch.tensor([[len(row)] for row in rows], device=device)
    return ids, torch.arange(length, device=device) < lengths


def preparation(side: int) -> dict[str, Any]:
    """The content of CLIP's `preprocessor_config.json` for what `SidaProcessor.clip` does."""
    return {
        "crop_size": {"height": side, "width": side}, "do_center_crop": True, "do_convert_rgb": True,
        "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": list(CLIP_MEAN),
        "image_processor_type": "CLIPImageProcessor", "image_std": list(CLIP_STD), "resample": 3,
        "rescale_factor": 1 / 255, "size": {"shortest_edge": side},
    }  # fmt: skip


def ensure_same_preparation(path: Path, side: int) -> None:
    """Refuse a CLIP whose `preprocessor_config.json` prepares pictures in another way; the file may be missing.

    Raises:
        UsageError: the file is damaged, or settings differ; the sentence names them.
    """
    if not path.is_file():
        return
    stated = read_json(path)
    sizes = {"size": side, "crop_size": side}  # older files hold the number alone
    other = [
        key
        for key, value in preparation(side).items()
        if key in stated and key != "image_processor_type"
        and stated[key] != value and stated[key] != sizes.get(key, value)
    ]  # fmt: skip
    if other:
        raise UsageError(
            f"{path} prepares pictures in another way than SIDA does ({', '.join(other)}): take the vision tower that "
            "the checkpoint was trained with."
        )


def _not_longer(pixels: np.ndarray, ratio: int) -> np.ndarray:
    """The middle of a picture that is more than `ratio` times as long as wide; the centre cut needs no more."""
    most = ratio * min(pixels.shape[:2])
    starts = [max(0, (length - most) // 2) for length in pixels.shape[:2]]
    return pixels[starts[0] : starts[0] + most, starts[1] : starts[1] + most]
