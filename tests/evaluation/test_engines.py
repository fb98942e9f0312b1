"""An engine may finish batches in any order and be killed: the rows come in one order, and no batch is done twice."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelsleuth.core.journal import Journal
from pixelsleuth.errors import ClusterError
from pixelsleuth.evaluation.engines import in_order, judged
from pixelsleuth.evaluation.judging import Batch, Judge
from pixelsleuth.evaluation.pictures import Samples, choose
from pixelsleuth.evaluation.predictions import PredictionLog
from pixelsleuth.evaluation.protocols import get_protocol

BATCHES: list[Batch] = [[(number, ["clean"])] for number in range(20)]
NAMES = [f"b{number}" for number in range(20)]


def rows_of(batch: Batch) -> list[dict[str, Any]]:
    return [{"index": index, "value": index / 7} for index, _ in batch]


@pytest.mark.parametrize("seed", range(5))
def test_batches_come_in_order_and_a_kill_costs_none_of_those_that_came_early(
    seed: int, tmp_path: Path
) -> None:
    draw, done = random.Random(seed), []

    def run(left: Sequence[Batch]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        for place in draw.sample(range(len(left)), len(left)):
            done.append(left[place][0][0])
            yield place, rows_of(left[place])

    taken: list[list[dict[str, Any]]] = []
    while len(taken) < len(BATCHES):
        journal, rest = Journal(tmp_path / "journal", "mark"), slice(len(taken), None)
        rows = in_order(BATCHES[rest], NAMES[rest], run, journal)
        taken += itertools.islice(rows, draw.randint(1, 6))  # then this process is killed
        journal.close()
    assert taken == [rows_of(batch) for batch in BATCHES]
    assert sorted(done) == list(range(20))


def test_a_set_in_shards_is_streamed_once_where_the_pictures_come_in_order(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = []
    for index in range(6):
        data = io.BytesIO()
        Image.fromarray(np.full((20, 24, 3), 40 * index, np.uint8)).save(data, "PNG")
        rows.append({"img_id": f"real_{index}", "image": {"bytes": data.getvalue(), "path": None}, "mask": None,
                     "width": 24, "height": 20, "label": 0})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train-00000-of-00001.parquet")
    pictures = choose(str(tmp_path), get_protocol("standard"))
    assert pictures.listing.sharded
    samples = Samples(pictures)

    def levels(*indexes: int) -> list[int]:
        return [int(sample.load()[0].pixels[0, 0, 0]) for sample in samples.take(indexes)]

    assert levels(0, 1) == [0, 40]
    stream = samples._stream
    assert levels(3) == [120]
    assert levels(4, 5) == [160, 200]
    assert samples._stream is stream
    assert levels(2, 5) == [80, 200]  # behind: the shards are read anew
    with pytest.raises(KeyError):
        samples.take([6])


def test_a_node_with_other_pictures_or_another_model_is_refused(data: Path, tmp_path: Path) -> None:
    from eval_detectors import Other, Soft

    protocol = get_protocol("standard")
    ours = Judge(Soft(), choose(str(data), protocol), protocol, {"clean": None})
    other_model = Judge(Other(), ours.pictures, protocol, {"clean": None})
    fewer = Judge(Soft(), choose(str(data), protocol, limit=3), protocol, {"clean": None})

    class Here:
        """Does all tasks in this process."""

        def run(self, make: Any, tasks: Sequence[Any], **_: Any) -> Iterator[tuple[int, Any]]:
            return make(1)(enumerate(tasks))

    for theirs, sentence in ((other_model, "another version of the model"), (fewer, "sees other pictures")):
        log = PredictionLog(tmp_path / sentence, {})
        with pytest.raises(ClusterError, match=sentence):
            list(judged(ours, log, Here(), lambda theirs=theirs: theirs))  # type: ignore[misc]
        log.close()
    log = PredictionLog(tmp_path / "same", {})
    rows = [row for batch in judged(ours, log, Here(), lambda: ours) for row in batch]
    assert [row["index"] for row in rows] == list(range(24))
    assert not (tmp_path / "same" / "predictions.part.jsonl").exists()
    log.close()
