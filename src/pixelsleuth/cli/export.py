"""`pixelsleuth export`: turn a trained compact checkpoint into an ONNX folder."""

from __future__ import annotations

from pathlib import Path

import click

from pixelsleuth.cli.options import needs


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def export(checkpoint: Path, out: Path) -> None:
    """Export CHECKPOINT (a folder with config.json and model.safetensors) to ONNX, for 'check --model OUT'."""
    from pixelsleuth.core.outputs import whole_folder
    from pixelsleuth.errors import UsageError

    if not checkpoint.is_dir():
        raise UsageError(
            f"{checkpoint} is not a folder: name a checkpoint folder with config.json and model.safetensors."
        )
    with needs("train"):
        from pixelsleuth.models.compact.onnx_graphs import export_compact

        with whole_folder(out, kind="exported detector", ours="compact.json", never=checkpoint) as folder:
            paths = [out / path.relative_to(folder) for path in export_compact(checkpoint, folder)]
    for path in paths:
        click.echo(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
