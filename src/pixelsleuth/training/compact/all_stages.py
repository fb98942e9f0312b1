"""The compact recipe (`kind: compact`): every stage in its order, and the file that each leaves when it is done.

A stage whose file exists is skipped, and each stage resumes from its own checkpoint, so that the same command goes on
where a killed one stopped.

Run: `pixelsleuth train recipes/compact.yaml data=MANIFEST.csv lite=LITE0.pth taef2=FOLDER start=none out=runs/compact`
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pixelsleuth.core.outputs import whole_folder
from pixelsleuth.data.picture_cache import build_cache, load_cache
from pixelsleuth.errors import PixelSleuthError, StageError
from pixelsleuth.forge.autoencoders import load_autoencoder, write_aligned
from pixelsleuth.models.compact.onnx_graphs import export_compact
from pixelsleuth.training.compact.feature_shards import shard_stage
from pixelsleuth.training.compact.fit_decision import decision_stage
from pixelsleuth.training.compact.left_out_scores import score_stage
from pixelsleuth.training.compact.settings import CompactRecipe, read_recipe
from pixelsleuth.training.compact.train_branches import branch_stage
from pixelsleuth.training.compact.train_heads import fold_stage, language_stage, mask_stage
from pixelsleuth.training.compact.whole_head import describe_stage, whole_stage


@dataclass(frozen=True)
class Stage:
    """One step: `run` it on `threads` processor cores; it is done when the file `makes` exists."""

    name: str
    makes: Path
    run: Callable[[CompactRecipe], None]
    threads: int = 1


def stages_of(recipe: CompactRecipe) -> list[Stage]:
    """All stages in their order."""
    folder, shards = recipe.folder, list(enumerate(recipe.shards))
    return [
        Stage("cache", folder("cache") / "index.json", cache_stage),
        Stage("aligned", folder("aligned") / "finished", aligned_stage),
        *(
            Stage(name, folder(name) / "finished", partial(branch_stage, name=name))
            for name in ("local", "repeat")
        ),
        Stage("descriptions", folder("whole") / "descriptions.npy", describe_stage),
        Stage("whole", folder("whole") / "whole.safetensors", whole_stage),
        *(
            Stage(
                f"features {what} {seed}",
                shard / f"{what}.finished",
                partial(shard_stage, what=what, seed=seed),
            )
            for what in ("views", "local")
            for seed, shard in shards
        ),
        Stage("masks", folder("masks") / "encoder.pt", mask_stage, threads=2),
        Stage("folds", folder("folds") / "finished", fold_stage, threads=2),
        Stage("language", folder("compact") / "model.safetensors", language_stage, threads=2),
        Stage("scores", folder("scores") / "part-0.finished", score_stage),
        Stage("decision", folder("compact") / "decision.json", decision_stage),
        Stage("export", folder("onnx") / "compact.json", export_stage),
    ]


def run(content: Mapping[str, Any], *, resume: bool = True) -> Path:
    """Run the stages that are not done and return the folder of the detector. Stages always resume.

    Raises:
        UsageError: the recipe is wrong. StageError: a stage failed; the stages before it are kept.
    """
    recipe = read_recipe(content)
    stages = stages_of(recipe)
    threads = torch.get_num_threads()
    for number, stage in enumerate(stages, 1):
        title = f"[{number}/{len(stages)}] {stage.name}"
        if stage.makes.exists():
            print(f"{title}: done before", file=sys.stderr, flush=True)
            continue
        print(title, file=sys.stderr, flush=True)
        torch.set_num_threads(stage.threads)
        try:
            stage.run(recipe)
        except PixelSleuthError as error:
            raise StageError(
                f"Stage {number} ({stage.name}) failed: {error} Correct that and call the same command again; the "
                "stages before it are kept."
            ) from error
        finally:
            torch.set_num_threads(threads)
    return recipe.folder("onnx")


def plan(content: Mapping[str, Any]) -> str:
    """The stages, each done or to do, a line each. Raises UsageError."""
    stages = stages_of(read_recipe(content))
    return "\n".join(f"{'done ' if stage.makes.exists() else 'to do'}  {stage.name}" for stage in stages)


def cache_stage(recipe: CompactRecipe) -> None:
    """Decode every picture and mask of the manifests once."""
    sources = None if recipe.sources == "none" else Path(recipe.sources)
    manifests = [Path(manifest) for manifest in recipe.data]
    build_cache(manifests, recipe.folder("cache"), sources, allow_outside=recipe.allow_outside).tell()


def aligned_stage(recipe: CompactRecipe) -> None:
    """Pass photographs through TAEF2."""
    model, pictures = load_autoencoder(Path(recipe.taef2)), load_cache(recipe.folder("cache"))
    write_aligned(model, pictures, recipe.folder("aligned"), count=recipe.aligned.count)


def export_stage(recipe: CompactRecipe) -> None:
    """Export the compact checkpoint to ONNX."""
    checkpoint, out = recipe.folder("compact"), recipe.folder("onnx")
    with whole_folder(out, kind="exported detector", ours="compact.json", never=checkpoint) as folder:
        export_compact(checkpoint, folder)
