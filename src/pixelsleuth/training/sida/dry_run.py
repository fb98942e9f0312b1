"""`--dry-run`: which parameters would learn, on how many pictures, with how much memory and disk.

No weight is read. Dimensions come from the start's configuration; where the start is not at hand and its name says 7B
or 13B, they are those of that size.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pixelsleuth.core.verdict import LABELS
from pixelsleuth.errors import UsageError
from pixelsleuth.models.sida import checkpoint
from pixelsleuth.models.sida.large import LargeConfig, LargeSida
from pixelsleuth.models.sida.published import dimensions
from pixelsleuth.models.weights import Shards, read_json
from pixelsleuth.training.run.data import Material, gather
from pixelsleuth.training.run.settings import RANDOM
from pixelsleuth.training.sida.learnt import prepare, table
from pixelsleuth.training.sida.settings import SidaSettings

BYTES = {"fp32": 4, "bf16": 2}
CLIP = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu",
}  # fmt: skip
SAM = {
    "hidden_size": 1280, "output_channels": 256, "num_hidden_layers": 32, "num_attention_heads": 16, "image_size": 1024,
    "patch_size": 16, "mlp_dim": 5120, "window_size": 14, "global_attn_indexes": [7, 15, 23, 31], "num_pos_feats": 128,
}  # fmt: skip
LANGUAGE = {
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40},
}  # fmt: skip
PROMPT, ANSWER = 150, {1: 15, 2: 300}
"""Tokens of question and template, and of an answer in each stage, roughly."""
KEPT = {False: 34, True: 2}
"""Bytes an activation of a layer keeps for the backward pass, without and with gradient checkpointing."""


def report(settings: SidaSettings) -> str:
    """The dry run as text.

    Raises:
        UsageError: the data or the start do not fit, as before a training.
    """
    from accelerate import init_empty_weights

    material = gather(settings)
    large = dimensions_of(settings)
    with init_empty_weights():
        model = LargeSida(large)
        module = prepare(model, settings)
    lines = [_head(settings), *_data(material), "", *_modules(module), ""]
    rows = table(module)
    whole, learns = sum(row[1] for row in rows), sum(row[2] for row in rows)
    lines += [*_memory(settings, large, whole, learns), *_disk(settings, material, large, whole, learns)]
    return "\n".join(lines)


def dimensions_of(settings: SidaSettings) -> LargeConfig:
    """Dimensions of the start, without its weights."""
    if settings.start == RANDOM:
        drawn = settings.random
        language = {**drawn.sida.get("language", {}), "vocab_size": drawn.pieces + 5}
        return LargeConfig({"decoder": "sam", **drawn.sida, "language": language}, drawn.clip, drawn.sam)
    folder = Path(settings.start)
    if folder.is_dir():
        config = read_json(folder / "config.json")
        if config.get("model_type") == checkpoint.MODEL_TYPE:
            return LargeConfig(config["sida"], config["clip"], config["sam"], config.get("layer", -2))
        shards = Shards(folder)
        names = {*shards.names, "model.sida_fc1.weight"}
        sida, sam = dimensions(
            config, lambda name: shards.shape(name) if name in shards.names else (256, 3), names
        )
        tower = folder / str(config.get("mm_vision_tower"))
        vision: dict[str, Any] = read_json(tower / "config.json") if tower.is_dir() else dict(CLIP)
        vision = vision.get("vision_config", vision)
        return LargeConfig(sida, {key: vision[key] for key in checkpoint.CLIP_KEYS if key in vision}, sam)
    size = next((size for size in LANGUAGE if f"-{size}" in settings.start.lower()), None)
    if size is None:
        raise UsageError(f"{settings.start} is no folder and names no known size: download it first.")
    language = {"vocab_size": 32_005, "tie_word_embeddings": False, **LANGUAGE[size]}
    fusion = {"fusion": settings.fusion or "attention", "det_projection": settings.det_projection or "logits"}
    return LargeConfig(
        {"token": 1024, "out": 256, "decoder": "sam", "language": language, **fusion}, CLIP, SAM
    )


def _head(settings: SidaSettings) -> str:
    micro = settings.per_device
    return (
        f"Stage {settings.stage} from {settings.start}: {settings.steps} steps of {settings.global_batch} pictures "
        f"({settings.batches} batches, {micro} at a time on each device), {settings.precision}."
    )


def _data(material: Material) -> list[str]:
    counts = ", ".join(f"{material.count(i)} {name.replace('_', ' ')}" for i, name in enumerate(LABELS))
    lines = [f"Pictures: {counts}; {material.masks} masks; {len(material.validation)} for validation."]
    return [*lines, *material.unused()]


def _modules(module: Any) -> list[str]:
    rows = table(module)
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{'module':{width}}  {'parameters':>14}  {'trained':>14}"]
    lines += [f"{name:{width}}  {count:>14,}  {learns:>14,}" for name, count, learns in rows]
    whole, learns = sum(row[1] for row in rows), sum(row[2] for row in rows)
    share = 100 * learns / whole
    return [*lines, f"{'together':{width}}  {whole:>14,}  {learns:>14,}  ({share:.2f} %)"]


def _memory(settings: SidaSettings, large: LargeConfig, whole: int, learns: int) -> list[str]:
    language = large.sida["language"]
    weights = (whole - learns) * BYTES[settings.frozen] + learns * 4
    state = learns * 12  # gradient and two moments, fp32
    tokens = PROMPT + large.picture_tokens + ANSWER[settings.stage]
    width = 4 if settings.precision == "fp32" else 2
    layer = language["hidden_size"] * tokens * settings.per_device
    activations = layer * language["num_hidden_layers"] * KEPT[settings.gradient_checkpointing] * width // 2
    side = large.sam["image_size"] // large.sam["patch_size"]
    attention = (
        settings.per_device * side**4 * large.sam["num_attention_heads"] * width
    )  # a global layer of SAM's
    parts = {"weights": weights, "gradients and moments": state, "activations": activations, "SAM": attention}
    details = ", ".join(f"{name} {_size(size)}" for name, size in parts.items())
    return [f"Memory a device, estimated, without sharding: {_size(sum(parts.values()))} ({details})."]


def _disk(
    settings: SidaSettings, material: Material, large: LargeConfig, whole: int, learns: int
) -> list[str]:
    checkpoints = learns * 12 * (settings.checkpoints.keep + 1) + learns * 4 * bool(settings.validation.every)
    model = whole * BYTES[settings.frozen]
    parts = {"checkpoints": checkpoints, "model": model}
    if settings.sam_cache:
        side = large.sam["image_size"] // large.sam["patch_size"]
        width = 4 if settings.precision == "fp32" else 2
        parts["SAM's embeddings"] = material.masks * large.sam["output_channels"] * side * side * width
    needed, out = sum(parts.values()), Path(settings.out)
    folder = next(path for path in [out, *out.absolute().parents] if path.is_dir())
    free = shutil.disk_usage(folder).free
    details = ", ".join(f"{name} {_size(size)}" for name, size in parts.items())
    lines = [f"Disk: {_size(needed)} ({details}); {_size(free)} are free at {folder}."]
    if needed > free:
        lines.append("That is too little: name another out, or a smaller checkpoints.keep.")
    return lines


def _size(count: float) -> str:
    """
    >>> _size(1_500_000), _size(17e9)
    ('1.5 MB', '17.0 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
