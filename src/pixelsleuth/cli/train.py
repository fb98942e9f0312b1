"""`pixelsleuth train`: train a detector by a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from pixelsleuth.cli.options import allow_outside, needs


@click.command()
@click.argument("recipe", metavar="CONFIG.yaml", type=click.Path(path_type=Path))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option(
    "--resume", is_flag=True, help="Continue from the last checkpoint in out; begin if there is none."
)
@allow_outside
@click.option("--dry-run", is_flag=True, help="Print parameters, memory, steps and disk; train nothing.")
def train(recipe: Path, overrides: tuple[str, ...], resume: bool, allow_outside: bool, dry_run: bool) -> None:
    """Train SIDA, FakeVLM, So-Fake-R1, a baseline or the bundled detector by the recipe CONFIG.yaml.

    KEY=VALUE replaces a setting of the recipe, nested ones as lora.rank=4.

    \b
    pixelsleuth train recipes/tiny.yaml data=MANIFEST.csv out=runs/tiny
    pixelsleuth train recipes/sida/7b_stage1.yaml data=SID_Set/ out=runs/7b --dry-run
    torchrun --nproc-per-node 2 -m pixelsleuth train recipes/sida/7b_stage1.yaml data=SID_Set/ out=runs/7b
    pixelsleuth train recipes/so_fake_r1/tiny.yaml data=MANIFEST.csv out=runs/r1
    pixelsleuth train recipes/compact.yaml data=MANIFEST.csv lite=LITE0.pth taef2=TAEF2 start=none out=runs/compact

    Writes out/log.jsonl (a line a step), out/checkpoints, plots, and out/model for 'pixelsleuth check --model'.
    """
    overrides += ("allow_outside=true",) * allow_outside
    with needs("train"):
        from pixelsleuth.training import recipe as recipes

        if dry_run:
            click.echo(recipes.plan(recipe, overrides))
            return
        model = recipes.carry_out(recipe, overrides, resume=resume)
    click.echo(f"{model}: ready for 'pixelsleuth check --model {model}'.")
