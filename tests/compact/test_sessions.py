"""How many threads ONNX Runtime gets."""

from __future__ import annotations

import os

import pytest

from pixelsleuth.compact.sessions import session_options

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    "most, threads", [("1", 1), ("1000", CORES), ("", CORES), ("0", CORES), ("many", CORES)]
)
def test_a_session_has_a_thread_a_core_at_most_omp_num_threads(
    monkeypatch: pytest.MonkeyPatch, most: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", most)
    assert session_options().intra_op_num_threads == threads
    assert session_options(3).intra_op_num_threads == 3
