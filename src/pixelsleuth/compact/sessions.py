"""How ONNX Runtime uses this machine, the same for every exported detector."""

from __future__ import annotations

import os
from typing import Any


def session_options(threads: int | None = None) -> Any:
    """Return ONNX Runtime's options: all cores that this process may use (or `threads`), no memory arena, errors only.

    Threads do not spin while they wait. A detector is several graphs, each with threads of its own: those that spin
    after their graph has ended keep the next one's from the cores.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    options.intra_op_num_threads = threads or cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # large pictures come and go; an arena would keep their peak
    options.log_severity_level = 3
    return options
