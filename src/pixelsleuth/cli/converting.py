"""`pixelsleuth models convert`: a baseline as an ONNX folder that runs without torch."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pixelsleuth.data.sample import Sample
    from pixelsleuth.models.catalogue import ModelSpec
    from pixelsleuth.models.facts import Facts
    from pixelsleuth.models.light.detector import LightDetector


@click.command()
@click.argument("name")
@click.option("--onnx", is_flag=True, help="The form to convert to; ONNX is the only one.")
@click.option("--weights", metavar="FILE", help="Published weights; by default those in the store.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="See 'pixelsleuth models'.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write; by default the store, where --model NAME finds it.",
)
@click.option("--int8", is_flag=True, help="8 bits, where they cost less than half a point (needs --data).")
@click.option("--data", metavar="MANIFEST", help="Labelled pictures on which the loss of 8 bits is measured.")
@click.option("--split", help="The part of --data to use.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=400, show_default=True, help="Pictures of --data."
)
def convert(
    name: str,
    onnx: bool,
    weights: str | None,
    options: tuple[str, ...],
    out: Path | None,
    int8: bool,
    data: str | None,
    split: str | None,
    limit: int,
) -> None:
    """Convert the baseline NAME to ONNX, so that it runs where torch is not installed.

    The graph is kept only if ONNX Runtime answers as torch does.
    """
    from pixelsleuth.errors import MissingExtra, OutputError, UsageError
    from pixelsleuth.models.choices import chosen, options_of
    from pixelsleuth.models.light.form import NOT

    if not onnx:
        raise UsageError(f"Say to what: pixelsleuth models convert {name} --onnx")
    if int8 and data is None:
        raise UsageError(
            "--int8 is kept only where it costs less than half a point of balanced accuracy: name labelled pictures "
            "with --data, on which that is measured."
        )
    facts = _facts(name)
    if name in NOT:
        raise UsageError(f"{facts.title} cannot become an ONNX graph: {NOT[name]}.")
    variant = chosen(facts, options_of([name], options)[name])
    folder = _target(name, out)
    try:
        from pixelsleuth.models.convert import convert as to_onnx
        from pixelsleuth.models.convert import load_for_conversion
        from pixelsleuth.models.registry import weights_at

        given = weights_at(facts, weights, _spec(name))
        network = load_for_conversion(name, given, variant)
        detector = to_onnx(network, name, folder, weights=_digests(Path(given), facts))
        click.echo(f"{folder}: {facts.title} in fp32, equal to torch.")
        if int8 and data is not None:
            _quantise(detector, folder, data, split, limit)
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "train") from None
    except OSError as error:
        raise OutputError(
            f"Cannot write to {folder}: {error.strerror}. Name a folder that can be written."
        ) from None
    click.echo(f"Use it: pixelsleuth check PICTURE --model {name if out is None else folder}")


def _facts(name: str) -> Facts:
    from pixelsleuth.core.settings import nearest
    from pixelsleuth.errors import UsageError
    from pixelsleuth.models.facts import FACTS

    if name not in FACTS:
        raise UsageError(f"There is no baseline {name!r}{nearest(name, FACTS)}")
    return FACTS[name]


def _spec(name: str) -> ModelSpec:
    from pixelsleuth.models.registry import specs

    return next(spec for spec in specs() if spec.name == name)


def _target(name: str, out: Path | None) -> Path:
    """The folder to write, once it is known to hold nothing of somebody else's."""
    from pixelsleuth.errors import OutputError
    from pixelsleuth.models import store
    from pixelsleuth.models.light.choice import CONVERTED
    from pixelsleuth.models.light.form import SETTINGS

    if out is None:
        return store.folder(name) / CONVERTED
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / SETTINGS).is_file())):
        raise OutputError(f"{out} is there and no converted detector: name another folder.")
    return out


def _digests(given: Path, facts: Facts) -> dict[str, str]:
    """SHA-256 of the files that the weights were read from."""
    files = [given] if given.is_file() else [given / name for name in facts.files if (given / name).is_file()]
    digests = {}
    for path in files:
        with open(path, "rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _some_of_each(samples: list[Sample], count: int) -> list[Sample]:
    """About `count` samples, the classes alike, and never more than a third of a class."""
    classes: dict[str, list[Sample]] = {}
    for sample in samples:
        classes.setdefault(str(sample.label), []).append(sample)
    chosen = []
    for one in classes.values():
        wanted = max(1, min(count // len(classes), len(one) // 3))
        chosen += one[:: max(1, len(one) // wanted)][:wanted]
    return chosen


def _quantise(fp32: LightDetector, folder: Path, data: str, split: str | None, limit: int) -> None:
    """Replace the folder's fp32 form by int8 where the measured loss is small enough. Raises UsageError where not."""
    from pixelsleuth.errors import UsageError
    from pixelsleuth.evaluation.losses import measure
    from pixelsleuth.evaluation.pictures import choose, load
    from pixelsleuth.evaluation.protocols import get_protocol
    from pixelsleuth.models.light.quantise import CALIBRATION_PICTURES, LARGEST_LOSS, quantise

    protocol = get_protocol("standard")
    samples = [
        sample for _, sample in choose(data, protocol, split=split, limit=limit + CALIBRATION_PICTURES)
    ]
    ranges = _some_of_each(samples, CALIBRATION_PICTURES)
    judged = [sample for sample in samples if sample not in ranges]
    trial = folder.with_name(f"{folder.name}.int8.part")
    try:
        small = quantise(folder, trial, [load(sample, protocol).picture.pixels for sample in ranges])
        told = measure([fp32, small], judged, fp32.made_for)
        before, after = told.balanced
        count = sum(told.counts.values())
        figures = f"balanced accuracy {after:.3f} in int8, {before:.3f} in fp32, on {count} pictures"
        if before - after >= LARGEST_LOSS:
            raise UsageError(
                f"int8 costs {before - after:.3f} ({figures}), and {LARGEST_LOSS} is the most: {folder} keeps fp32."
            )
        shutil.copyfile(trial / "model.onnx", folder / "model.onnx.part")
        (folder / "model.onnx.part").replace(folder / "model.onnx")
        shutil.copyfile(trial / "detector.json", folder / "detector.json")
        click.echo(f"{folder}: now int8; {figures}.")
    finally:
        shutil.rmtree(trial, ignore_errors=True)
