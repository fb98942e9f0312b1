"""The loop knows no network: any step trains on it, ends in time, keeps its best checkpoint and resumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelsleuth.errors import TrainingError
from pixelsleuth.training.run.checkpoints import find, read
from pixelsleuth.training.run.feed import Numbered
from pixelsleuth.training.run.log import read_log
from pixelsleuth.training.run.loop import Loop, Parts, Step, Taken
from pixelsleuth.training.run.settings import Checkpoints


class Counting(Step):
    """Adds the numbers of its batches; `losses` may hold another loss for some of them."""

    def __init__(self, losses: Mapping[int, float] | None = None) -> None:
        self.feed, self.sum, self.losses = Numbered(int), torch.zeros(1), losses or {}

    def take(self, batch: int) -> Taken:
        self.sum += batch
        loss = self.losses.get(batch, 1.0)
        return Taken({"loss": loss, "gradient_norm": 0.0, "learning_rate": 0.0}, pictures=1)

    def state(self) -> tuple[Parts, dict[str, Any]]:
        return {"trained": {"sum": self.sum}}, {}

    def restore(self, parts: Parts, facts: Mapping[str, Any]) -> None:
        self.sum = parts["trained"]["sum"]

    def validate(self, step: int) -> dict[str, float]:
        return {"score": 1 / step}


def loop(out: Path, **settings: Any) -> Loop:
    facts = {"config": {"a": (1, 2)}, "data": ""}
    return Loop(out, checkpoints=Checkpoints(every=2, keep=2), facts=facts, resume=True, **settings)


def test_a_resumed_training_goes_on_after_its_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="step 6 is not finite"):
        loop(tmp_path, steps=8, validate_every=2).run(Counting({5: float("nan")}))
    step = Counting()
    loop(tmp_path, steps=8, validate_every=2).run(step)
    assert step.sum.item() == sum(range(8))
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == list(range(1, 9))
    best = find(tmp_path)
    assert best is not None
    assert (best.name, read(best)[1]["trained"]["sum"].item()) == ("best-0000002", 1.0)


def test_a_training_ends_with_its_minutes_and_takes_no_step_when_resumed(tmp_path: Path) -> None:
    for _ in range(2):
        loop(tmp_path, steps=1000, minutes=1e-9).run(Counting())
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [1]
    assert find(tmp_path) == tmp_path / "checkpoints" / "step-0000001"
