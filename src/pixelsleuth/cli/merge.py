"""`pixelsleuth merge`: one SIDA checkpoint from a training's folder."""

from __future__ import annotations

from pathlib import Path

import click

from pixelsleuth.cli.options import FiniteFloat, needs


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--base",
    metavar="NAME",
    help="Folder or hub id that the training started from, if CHECKPOINT does not name it.",
)
@click.option(
    "--alpha",
    type=FiniteFloat(),
    default=16.0,
    show_default=True,
    help="LoRA's alpha; its rank is read from the weights.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="bf16",
    show_default=True,
    help="Of the written weights.",
)
@click.option(
    "--layout",
    type=click.Choice(["own", "published"]),
    default="own",
    show_default=True,
    help="published: the layout of SIDA's authors, for their code and transformers.",
)
def merge(checkpoint: Path, out: Path, base: str | None, alpha: float, precision: str, layout: str) -> None:
    """Fold LoRA into the weights of CHECKPOINT and write one SIDA checkpoint that 'check' and 'chat' read.

    CHECKPOINT is a folder in the published layout, with or without LoRA; a ZeRO folder of the authors' training (the
    folder with the file 'latest', or one of its global_step folders); or the out folder of 'pixelsleuth train' (best
    checkpoint, else last), or one of its checkpoints.
    """
    from pixelsleuth.core.outputs import refuse_folder, whole_folder
    from pixelsleuth.errors import UsageError

    if not checkpoint.is_dir():
        raise UsageError(f"{checkpoint} is not a folder: name a checkpoint, or a ZeRO folder.")
    refuse_folder(out, kind="merged checkpoint", ours="config.json", never=checkpoint)
    with needs("vlm"):
        import torch

        from pixelsleuth.models.sida.checkpoint import remove_stale, save_large
        from pixelsleuth.models.sida.merging import merge_checkpoint
        from pixelsleuth.models.sida.release import save_published, unread_of
        from pixelsleuth.training.run.checkpoints import find

        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        own = find(checkpoint)
        source = base or str(checkpoint)
        if own is not None:
            from pixelsleuth.training.sida.learnt import assemble, start_of

            source = base or start_of(own)
            model, processor, folded = assemble(own, start=base)
            model = model.to(dtype)
        else:
            model, processor, folded = merge_checkpoint(checkpoint, base=base, alpha=alpha, dtype=dtype)
    with whole_folder(out, kind="merged checkpoint", ours="config.json", never=checkpoint) as folder:
        if layout == "own":
            save_large(model, processor, folder)
        else:
            save_published(model, processor, folder, unread_of(source))
        written = {path.name for path in folder.iterdir()}
    remove_stale(out, written)
    click.echo(f"{out}: {folded} LoRA layers folded, {precision}.")
