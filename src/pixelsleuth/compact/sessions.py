"""How ONNX Runtime uses this machine, the same for every exported detector."""

from __future__ import annotations

import os
from typing import Any


def session_options(threads: int | None = None) -> Any:
    """Return ONNX Runtime's options: no memory arena, errors only, and `threads`.

    Without a number there is a thread a core that this process may use, at most OMP_NUM_THREADS where the environment
    has it, as for PyTorch: ONNX Runtime itself does not read it.

    Threads do not spin while they wait. A detector is several graphs, each with threads of its own: those that spin
    after their graph has ended keep the next one's from the cores. Each tensor is a block of memory of its own: the one
    block for all of them that ONNX Runtime would plan is too large to be used again (`core.memory`).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usual_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # large pictures come and go; an arena would keep their peak
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options


def usual_threads() -> int:
    """Threads of a session where the caller names no number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(most)) if most.isdecimal() and int(most) else cores
