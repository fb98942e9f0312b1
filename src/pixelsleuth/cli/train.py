"""`pixelsleuth train`: carry out a training recipe."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Train SIDA by a recipe: both stages, any size, resumable.")
@click.argument("recipe", metavar="CONFIG.yaml", type=click.Path(path_type=Path))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option(
    "--resume", is_flag=True, help="Go on from the last checkpoint in out; begin where there is none."
)
@click.option(
    "--dry-run", is_flag=True, help="Tell what would be trained, memory, steps and disk; train nothing."
)
def train(recipe: Path, overrides: tuple[str, ...], resume: bool, dry_run: bool) -> None:
    """Train SIDA, FakeVLM or So-Fake-R1 as CONFIG.yaml says, settings replaced by KEY=VALUE (nested ones as
    lora.rank=4). `kind:` in the recipe tells which; without it, it is SIDA's.

    \b
    pixelsleuth train recipes/tiny.yaml data=MANIFEST.csv out=runs/tiny
    pixelsleuth train recipes/sida/7b_stage1.yaml data=SID_Set/ out=runs/7b --dry-run
    torchrun --nproc-per-node 2 -m pixelsleuth train recipes/sida/7b_stage1.yaml data=SID_Set/ out=runs/7b
    pixelsleuth train recipes/so_fake_r1/tiny.yaml data=MANIFEST.csv out=runs/r1

    Leaves out/log.jsonl (a line a step), out/checkpoints, plots, and out/model for 'pixelsleuth check --model'.
    """
    from pixelsleuth.core.errors import MissingExtra

    try:
        from pixelsleuth.training.vlm import kinds

        if kinds.kind_of(recipe) is not None:
            if dry_run:
                click.echo(kinds.plan(recipe, overrides))
                return
            model = kinds.carry_out(recipe, overrides, resume=resume)
            click.echo(f"{model}: ready for 'pixelsleuth check --model {model}'.")
            return
        from pixelsleuth.training.sida.config import read_config

        config = read_config(recipe, overrides)
        if dry_run:
            from pixelsleuth.training.sida.plan import plan

            click.echo(plan(config))
            return
        from pixelsleuth.training.sida.loop import train as carry_out

        model = carry_out(config, resume=resume)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("pixelsleuth"):
            raise
        raise MissingExtra(error.name or "torch", "train") from None
    click.echo(f"{model}: ready for 'pixelsleuth check --model {model}'.")
