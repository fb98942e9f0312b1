"""From an object's name to its mask: Grounding DINO finds boxes, SAM or SAM 2 the mask inside them.

What LangSAM does, with the transformers classes themselves. The name is lower case and ends with a dot, as the detector
was trained. Which boxes count is a setting: `best` takes the surest, `union` all above the threshold. SAM 2's own
processor needs torchvision, so its few steps (scale to a square, normalise) are done here; the model is theirs.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np

from pixelsleuth.errors import Rejected
from pixelsleuth.forge.config import MasksConfig
from pixelsleuth.forge.loading import device_of, loading

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def grounded_mask(
    pixels: np.ndarray, name: str, config: MasksConfig, device: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Mask (H, W) uint8 0/255 of the object called `name` in (H, W, 3) uint8, and the record of boxes and models.

    Raises Rejected where no box is found, UsageError where a model cannot be loaded.
    """
    place = device_of(device)
    boxes, scores = find_boxes(pixels, name, config, place)
    if not len(boxes):
        raise Rejected(f"No {name} was found above the threshold {config.box_threshold:g}.")
    chosen = np.argsort(-scores)[:1] if config.boxes == "best" else np.flatnonzero(scores > 0)
    mask = segment(pixels, boxes[chosen], config.segmenter, place)
    record = {
        "boxes": [[round(float(v), 1) for v in boxes[i]] for i in chosen],
        "box_scores": [round(float(scores[i]), 4) for i in chosen],
        "box_rule": config.boxes,
        "detector": config.detector,
        "segmenter": config.segmenter,
    }
    return mask, record


def find_boxes(
    pixels: np.ndarray, name: str, config: MasksConfig, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) x0, y0, x1, y1 in pixels, and their scores (N)."""
    import torch
    from PIL import Image

    processor, model = _detector(config.detector, device)
    text = name.lower().strip().rstrip(".") + "."
    inputs = processor(images=Image.fromarray(pixels), text=text, return_tensors="pt").to(device)
    with torch.inference_mode():
        outputs = model(**inputs)
    found = processor.post_process_grounded_object_detection(
        outputs,
        inputs["input_ids"],
        threshold=config.box_threshold,
        text_threshold=config.text_threshold,
        target_sizes=[pixels.shape[:2]],
    )[0]
    boxes = found["boxes"].float().cpu().numpy().reshape(-1, 4)
    height, width = pixels.shape[:2]
    return boxes.clip(0, [width, height, width, height]), found["scores"].float().cpu().numpy()


def segment(pixels: np.ndarray, boxes: np.ndarray, name: str, device: str) -> np.ndarray:
    """The union of the masks inside `boxes` (N, 4), (H, W) uint8 0/255."""
    import torch

    processor, model, side = _segmenter(name, device)
    with torch.inference_mode():
        if processor is not None:
            from PIL import Image

            inputs = processor(
                images=Image.fromarray(pixels), input_boxes=[boxes.tolist()], return_tensors="pt"
            )
            outputs = model(**inputs.to(device), multimask_output=False)
            masks = processor.post_process_masks(
                outputs.pred_masks.cpu(), inputs["original_sizes"].cpu(), inputs["reshaped_input_sizes"].cpu()
            )[0]
            found = masks.numpy().reshape(-1, *pixels.shape[:2]).any(axis=0)
        else:
            height, width = pixels.shape[:2]
            small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
            tensor = torch.from_numpy((small - MEAN) / DEVIATION).permute(2, 0, 1)[None].float().to(device)
            scale = np.array([side / width, side / height] * 2, dtype=np.float32)
            corners = torch.from_numpy(boxes * scale)[None].float().to(device)
            logits = model(pixel_values=tensor, input_boxes=corners, multimask_output=False).pred_masks
            full = torch.nn.functional.interpolate(
                logits[0].float().cpu(), (height, width), mode="bilinear", align_corners=False
            )
            found = (full > 0).numpy().reshape(-1, height, width).any(axis=0)
    return (found * np.uint8(255)).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _detector(name: str, device: str) -> tuple[Any, Any]:
    with loading(name, "transformers"):
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        model = AutoModelForZeroShotObjectDetection.from_pretrained(name)
        return AutoProcessor.from_pretrained(name), model.to(device).eval()


@functools.lru_cache(maxsize=1)
def _segmenter(name: str, device: str) -> tuple[Any, Any, int]:
    """(processor, model, side): SAM with its processor, SAM 2 without one and with the side of its input."""
    with loading(name, "transformers"):
        from transformers import AutoConfig, Sam2Model, SamModel, SamProcessor

        config = AutoConfig.from_pretrained(name)
        if config.model_type in ("sam2", "sam2_video"):
            side = int(config.prompt_encoder_config.image_size)
            return None, Sam2Model.from_pretrained(name).to(device).eval(), side
        return SamProcessor.from_pretrained(name), SamModel.from_pretrained(name).to(device).eval(), 0
