"""From box to mask: a frozen SAM or SAM 2 of transformers, prompted with the policy's box (as in Seg-Zero).

The authors draw SAM's three parts, frozen, and do not say which SAM it is. Any `SamModel` or `Sam2Model` works. For SAM
2 pixels are prepared here, since its processor needs torchvision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pixelsleuth.models.pretrained import load_image_processor, load_pretrained

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Segmenter:
    """A promptable segmentation model.

    Args:
        model: `SamModel` or `Sam2Model`, on its device.
        processor: SAM's PIL image processor; None for SAM 2.
    """

    def __init__(self, model: Any, processor: Any = None) -> None:
        self.model, self.processor = model, processor

    @torch.inference_mode()
    def mask(self, pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """Probability (H, W) float32 that a pixel belongs to the object in `box`, by the candidate of best score.

        The picture is (H, W, 3) uint8, the box (x0, y0, x1, y1) in its pixels, half open.
        """
        height, width = pixels.shape[:2]
        values, shown, side = self._prepare(pixels)
        x0, y0, x1, y1 = box
        across, down = shown[1] / width, shown[0] / height
        prompt = torch.tensor([[[x0 * across, y0 * down, x1 * across, y1 * down]]], device=self.model.device)
        out = self.model(
            pixel_values=values.to(self.model.device, self.model.dtype),
            input_boxes=prompt.to(self.model.dtype),
            multimask_output=True,
        )
        scores = out.iou_scores.reshape(-1)
        best = out.pred_masks.reshape(scores.numel(), *out.pred_masks.shape[-2:])[int(scores.argmax())]
        logits = F.interpolate(best[None, None].float(), (side, side), mode="bilinear")
        logits = F.interpolate(logits[..., : shown[0], : shown[1]], (height, width), mode="bilinear")
        return np.asarray(logits[0, 0].sigmoid().cpu().numpy(), dtype=np.float32)

    def _prepare(self, pixels: np.ndarray) -> tuple[Tensor, tuple[int, int], int]:
        """Pixels (1, 3, side, side), the picture's (height, width) inside them, and the side."""
        image = Image.fromarray(pixels)
        if self.processor is not None:
            batch = self.processor([image], return_tensors="pt")
            height, width = (int(value) for value in batch["reshaped_input_sizes"][0])
            return batch["pixel_values"], (height, width), int(batch["pixel_values"].shape[-1])
        side = int(self.model.config.vision_config.backbone_config.image_size[0])
        small = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32) / 255
        normal = (small - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        return torch.from_numpy(normal).permute(2, 0, 1)[None], (side, side), side


def load_segmenter(folder: Path, device: torch.device | str, dtype: torch.dtype) -> Segmenter:
    """The segmenter of a checkpoint folder.

    Raises:
        UsageError: not a SAM or SAM 2, or damaged.
    """
    from transformers import Sam2Model, SamModel

    from pixelsleuth.models.sam_encoder import hasten

    classes = {"sam": SamModel, "sam2": Sam2Model, "sam2_video": Sam2Model}
    model = load_pretrained(folder, classes, "SAM or SAM 2", dtype)
    processor = None
    if isinstance(model, SamModel):
        processor = load_image_processor(folder)
        hasten(model.vision_encoder)
    return Segmenter(model.to(device), processor)
