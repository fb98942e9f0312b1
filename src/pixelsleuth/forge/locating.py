"""Stage 2: where the object is.

`shapes` draws a free shape; `polygons` takes the outline of the object that came with the photographs; `grounded` asks
Grounding DINO for boxes of the object's name and SAM or SAM 2 for the mask inside them. The mask is kept at the run's
size, 0 or 255.

`grounded` does what LangSAM does, with the transformers classes themselves. The name is lower case and ends with a dot,
as the detector was trained. Which boxes count is a setting: `best` takes the surest, `union` all above the threshold.
SAM 2's own processor needs torchvision, so its few steps (scale to a square, normalise) are done here.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import cv2
import numpy as np

from pixelsleuth.data.equalise import random_for, resized
from pixelsleuth.errors import Rejected
from pixelsleuth.forge.configuration import MasksConfig
from pixelsleuth.forge.diffusion import device_of, loading
from pixelsleuth.forge.edits import Random, free_shape, outline_shape
from pixelsleuth.forge.sources import Context, photograph, size_policy
from pixelsleuth.forge.stages import Row, write_file


def find_mask(row: Row, context: Context) -> list[Row]:
    """Add `mask` (a path in the run's folder), `mask_from`, `mask_area` (share). Raises Rejected."""
    config = context.config.masks
    random = random_for(f"mask/{row['id']}", context.config.seed)
    record: Row = {}
    if config.method == "polygons":
        mask = _outline(row, context, random)
    elif config.method == "grounded":
        if not row.get("object"):
            raise Rejected(f"{row['id']}: no object is known that could be looked for.")
        mask, record = grounded_mask(photograph(row, context), row["object"], config, context.config.device)
    else:
        height, width = photograph(row, context).shape[:2]
        for _ in range(20):
            mask = free_shape(height, width, random)
            if config.smallest <= (mask > 0).mean() <= config.largest:
                break
    area = float((mask > 0).mean())
    if not config.smallest <= area <= config.largest:
        raise Rejected(
            f"{row['id']}: the mask of {row.get('object') or 'the shape'} covers {area:.1%}, outside "
            f"{config.smallest:.1%} to {config.largest:.0%}."
        )
    name = f"masks/{row['id']}.png"
    write_file(context.folder / name, png(mask))
    return [{**row, "mask": name, "mask_from": config.method, "mask_area": round(area, 5), **record}]


def _outline(row: Row, context: Context, random: Random) -> np.ndarray:
    """The mask of an outlined object: of the class that the caption names where there is one, else of any."""
    config = context.config.masks
    named = [outline for outline in row["objects"] if outline.get("category") == row.get("coco_class")]
    masks = []
    for outline in named or row["objects"]:
        mask = drawn(outline, row["height"], row["width"])
        mask = resized(mask, size_policy(context.config), mask=True)[0]
        if config.smallest <= (mask > 0).mean() <= config.largest:
            masks.append(mask)
    if not masks:
        raise Rejected(f"{row['id']}: it has no outline of a sensible size.")
    return masks[int(random.integers(len(masks)))]


def drawn(outline: Row, height: int, width: int) -> np.ndarray:
    """The union of an outline's `polygons` (flat lists of x, y in pixels), (H, W) uint8 0/255."""
    mask = np.zeros((height, width), np.uint8)
    for polygon in outline.get("polygons", []):
        if len(polygon) >= 6:
            points = np.array(polygon[: len(polygon) // 2 * 2], np.float32).reshape(-1, 2)
            mask |= outline_shape(points, height, width)
    return mask


def load_mask(context: Context, name: str) -> np.ndarray:
    """A mask of the run's folder, (H, W) uint8 0/255."""
    mask = cv2.imread(str(context.folder / name), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise Rejected(
            f"{name} is gone from the folder of the run; remove the stage's JSONL file to make it again."
        )
    return ((np.asarray(mask) > 127) * np.uint8(255)).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of (H, W) or (H, W, 3) uint8."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


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
    detected = processor.post_process_grounded_object_detection(
        outputs,
        inputs["input_ids"],
        threshold=config.box_threshold,
        text_threshold=config.text_threshold,
        target_sizes=[pixels.shape[:2]],
    )[0]
    boxes = detected["boxes"].float().cpu().numpy().reshape(-1, 4)
    height, width = pixels.shape[:2]
    return boxes.clip(0, [width, height, width, height]), detected["scores"].float().cpu().numpy()


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
            inside = masks.numpy().reshape(-1, *pixels.shape[:2]).any(axis=0)
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
            inside = (full > 0).numpy().reshape(-1, height, width).any(axis=0)
    return (inside * np.uint8(255)).astype(np.uint8)


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
