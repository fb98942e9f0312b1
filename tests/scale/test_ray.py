"""The Ray engine gives the rows of the local engine, whatever dies on the way."""

from __future__ import annotations

import csv
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scale_tools import FAKES, rows_of, start, write_pictures

from pixelsleuth.errors import ClusterError, MissingExtra, UsageError
from pixelsleuth.scale import parts
from pixelsleuth.scale.cluster import ClusterSettings, division
from pixelsleuth.scale.sessions import connected

# Not imported here: the engine says who may enter a session before Ray is imported.
if importlib.util.find_spec("ray") is None:
    pytest.skip("the Ray engine: install the extra scale", allow_module_level=True)
CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
Scan = Callable[..., int]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One session for the tests of this file; its actors find the fake detectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(FAKES), *filter(None, [os.environ.get("PYTHONPATH")])])
        )
        with connected(None) as module:
            yield module


@pytest.fixture
def scan_ray(ray: Any, scan: Scan) -> Scan:
    """`scan` on the session, with two actors."""
    del ray
    return lambda source, out, **options: scan(source, out, **({"engine": "ray", "actors": 2} | options))


def test_the_rows_are_those_of_the_local_engine(tmp_path: Path, scan: Scan, scan_ray: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 42)
    pictures[5].write_bytes(pictures[5].read_bytes()[:90])
    pictures[9].write_text("no picture")
    assert scan(tmp_path / "pictures", tmp_path / "local") == 1
    assert scan_ray(tmp_path / "pictures", tmp_path / "ray") == 1
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")
    assert len(rows_of(tmp_path / "ray")) == 42
    # A second run judges what is missing, and nothing else.
    gone = parts.part_path(tmp_path / "ray", 3)
    kept = parts.part_path(tmp_path / "ray", 4)
    before = kept.stat().st_mtime_ns
    gone.unlink()
    scan_ray(tmp_path / "pictures", tmp_path / "ray", resume=True)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")
    assert kept.stat().st_mtime_ns == before


def deadly(picture: Path, times: int, way: str) -> None:
    """Make the detector end at a picture."""
    picture.with_name(picture.name + ".kills").write_text(f"{times} {way}")


def test_a_picture_that_ends_its_actor_becomes_an_error_after_two_tries(
    tmp_path: Path, scan: Scan, scan_ray: Scan
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 40)
    assert scan(tmp_path / "pictures", tmp_path / "local") == 0
    deadly(pictures[17], 1, "fault")  # once: the second try succeeds
    deadly(pictures[30], 1000, "kill")
    out = tmp_path / "ray"
    assert scan_ray(tmp_path / "pictures", out, model="scale_stub:deadly") == 1
    assert pictures[17].with_name(pictures[17].name + ".kills").read_text() == "0 fault"
    assert pictures[30].with_name(pictures[30].name + ".kills").read_text() == "998 kill"
    failed = {row["source"]: row["error"]["code"] for row in rows_of(out) if row["error"]}
    assert failed == {str(pictures[30]): "judge_ended"}
    others = [row for row in rows_of(tmp_path / "local") if row["source"] not in failed]
    assert [row for row in rows_of(out) if not row["error"]] == others
    assert not list(out.rglob(".*.judging"))


@pytest.mark.thorough
def test_a_picture_that_is_never_judged_becomes_an_error(tmp_path: Path, scan_ray: Scan) -> None:
    pictures = write_pictures(tmp_path / "pictures", 8)
    deadly(pictures[5], 1000, "hang")
    assert scan_ray(tmp_path / "pictures", tmp_path / "out", model="scale_stub:deadly", judge_seconds=1) == 1
    assert len(rows_of(tmp_path / "out")) == 8
    failed = {row["source"]: row["error"]["code"] for row in rows_of(tmp_path / "out") if row["error"]}
    assert failed == {str(pictures[5]): "judge_ended"}


@pytest.mark.thorough
def test_a_shard_that_ends_its_actors_too_often_is_named_and_the_others_stand(
    tmp_path: Path, scan_ray: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixelsleuth.scale import engine

    monkeypatch.setattr(engine, "TASK_RETRIES", 1)
    write_pictures(tmp_path / "pictures", 8)
    last = write_pictures(tmp_path / "pictures" / "z", 4, seed=1)
    for picture in last:
        deadly(picture, 1000, "kill")
    with pytest.raises(ClusterError, match=r"worked on 1 shard \(2\) several times"):
        scan_ray(tmp_path / "pictures", tmp_path / "out", model="scale_stub:deadly")
    assert len(rows_of(tmp_path / "out")) == 8
    for picture in last:
        deadly(picture, 0, "kill")
    assert scan_ray(tmp_path / "pictures", tmp_path / "out", model="scale_stub:deadly", resume=True) == 1
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == list(range(12))
    # Two passes of two tries each: one or two pictures were condemned, and the run that goes on knows them.
    assert [row["state"] for row in rows].count("error") in (1, 2)


def test_a_judge_has_as_many_threads_as_its_actor_has_cpus(tmp_path: Path, scan_ray: Scan) -> None:
    write_pictures(tmp_path / "pictures", 1)
    cores = len(os.sched_getaffinity(0))
    for cpus in {1, min(2, cores)}:
        out = tmp_path / str(cpus)
        scan_ray(tmp_path / "pictures", out, model="scale_stub:threads", actors=1, workers=cpus)
        assert [row["explanation"] for row in rows_of(out)] == [str(cpus)]


@pytest.mark.thorough  # the local engine has the same case
def test_a_part_that_cannot_be_written_ends_the_run(tmp_path: Path, scan: Scan, scan_ray: Scan) -> None:
    write_pictures(tmp_path / "pictures", 4)
    scan(tmp_path / "pictures", tmp_path / "out")
    folder = parts.part_path(tmp_path / "out", 0).parent
    parts.part_path(tmp_path / "out", 0).unlink()
    folder.rmdir()
    folder.write_text("a file where a folder belongs")
    with pytest.raises(ClusterError, match="part-000000000"):
        scan_ray(tmp_path / "pictures", tmp_path / "out", resume=True)


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_from_its_parts(tmp_path: Path, scan: Scan) -> None:
    write_pictures(tmp_path / "pictures", 48)
    assert scan(tmp_path / "pictures", tmp_path / "local") == 0
    out, options = tmp_path / "ray", ("--engine", "ray", "--actors", "1")
    process = start(tmp_path / "pictures", out, *options, seconds=0.1)
    deadline = time.monotonic() + 120
    while not list(out.rglob("part-*.parquet")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert 0 < len(rows_of(out)) < 48
    process = start(tmp_path / "pictures", out, "--resume", *options)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert rows_of(out) == rows_of(tmp_path / "local")
    assert len(errors.splitlines()) == 3, errors.decode()  # ours: Ray says nothing


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_a_node_that_is_killed_costs_its_shards_only(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    write_pictures(tmp_path / "pictures", 48)
    assert scan(tmp_path / "pictures", tmp_path / "local") == 0
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, [FAKES, *filter(None, sys.path)])))
    monkeypatch.setenv("STUB_SECONDS", "0.2")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        second = cluster.add_node(**node)
        out = tmp_path / "ray"
        process = start(
            tmp_path / "pictures", out, "--engine", "ray", "--address", cluster.address, seconds=0.2
        )
        deadline = time.monotonic() + 120
        while len(list(out.rglob("part-*"))) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        cluster.remove_node(second, allow_graceful=False)
        _, errors = process.communicate(timeout=240)
    finally:
        cluster.shutdown()
    assert process.returncode == 0, errors
    assert rows_of(out) == rows_of(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared/corpus")
def test_the_rows_of_the_corpus_are_the_records_of_check(tmp_path: Path, scan_ray: Scan) -> None:
    import pyarrow.parquet as pq

    from pixelsleuth.evidence.inspection import FileExaminer
    from pixelsleuth.models.registry import load
    from pixelsleuth.scale.rows import record_of

    with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        names = [row["path"] for row in csv.DictReader(stream)]
    chosen = [str(CORPUS / name) for name in names[:: max(1, len(names) // 20)]][:20]
    (tmp_path / "list.txt").write_text("\n".join(chosen))
    usual = {"model": "compact", "evidence": True, "stable": False, "shard_size": 5, "actors": 1}
    assert scan_ray(tmp_path / "list.txt", tmp_path / "out", **usual) == 0
    rows = [row for part in (tmp_path / "out").rglob("part-*") for row in pq.read_table(part).to_pylist()]
    records = [record for row in sorted(rows, key=lambda row: row["id"]) if (record := record_of(row))]
    detector = load("compact")
    detector.decide_as(None, None, False)
    detector.examiner = FileExaminer()
    expected = [verdict.to_dict() for verdict in detector.check_many(chosen)]
    for record in (*records, *expected):
        del record["elapsed_ms"]
    assert len(records) == 20
    assert records == expected


def test_what_is_missing_is_said_in_one_sentence(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "pictures", 2)
    with pytest.raises(UsageError, match="--engine ray"):
        scan(tmp_path / "pictures", tmp_path / "out", actors=2)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"\[scale\]"):
        scan(tmp_path / "pictures", tmp_path / "out", engine="ray")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:10001", "127.0.0.1:99999"])
def test_an_address_without_a_cluster_is_refused_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterError, match=r"HOST:PORT|no Ray cluster"), connected(address):
        pass


def test_actors_that_fit_nowhere_are_refused() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 4.0}]
    with pytest.raises(ClusterError, match="GPUs"):
        division(nodes, ClusterSettings(gpus_per_actor=1))
    with pytest.raises(ClusterError, match="fewer --workers"):
        division(nodes, ClusterSettings(workers=16))
    assert division(nodes, ClusterSettings(actors=2)) == (2, 4)
    assert division(nodes, ClusterSettings(workers=2)) == (6, 2)
    assert division([{"CPU": 8.0, "GPU": 1.0}], ClusterSettings(gpus_per_actor=0.5)) == (2, 4)


def test_the_cluster_of_the_page_is_whole() -> None:
    import re

    import yaml

    from pixelsleuth.cli.scan import scan as command

    text = (Path(__file__).parents[2] / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
    job = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[0])
    spec = job["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        mounts = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}
    words = job["spec"]["entrypoint"].split()
    assert words[:2] == ["pixelsleuth", "scan"]
    command.make_context("scan", words[2:])  # every option is one of the command
