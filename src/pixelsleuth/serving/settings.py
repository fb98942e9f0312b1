"""The settings of one service; the defaults are those of `pixelsleuth serve`."""

from __future__ import annotations

import os
from dataclasses import dataclass

MEGABYTE = 1_000_000
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts on which only this machine reaches the service."""
MOST_DECODERS = 4
"""Decoding processes beyond which more gain nothing: judging a picture takes far longer than decoding it."""


@dataclass(frozen=True)
class ServeOptions:
    """The options of one run of the service. Times are seconds, `keep` minutes, `keep_jobs` hours.

    `models` are loaded at the start, the first is the default. `queue` bounds the requests that are accepted and not
    answered yet. `jobs` is the folder of background jobs, None to refuse them; `feedback` the file of what people call
    wrong, None to take nothing.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ("auto",)
    device: str = "auto"
    precision: str = "auto"
    max_megapixels: float = 100.0
    max_bytes: int = 25 * MEGABYTE
    queue: int = 16
    batch_size: int = 8
    deadline: float = 30.0
    grace: float = 20.0
    decoders: int = 0
    trust_list: str | None = None
    decode_seconds: float = 20.0
    workers: int = 1
    root_path: str = ""
    keep: float = 15.0
    api_key_file: str | None = None
    allow_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allow_fetch: bool = False
    log_names: bool = False
    jobs: str | None = None
    keep_jobs: float = 24.0
    max_job_bytes: int = 2000 * MEGABYTE
    webhook_hosts: tuple[str, ...] = ()
    feedback: str | None = None

    @property
    def decoding_processes(self) -> int:
        """How many processes decode pictures: `decoders`, or one a core (at most `MOST_DECODERS`) where it is 0."""
        if self.decoders:
            return self.decoders
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, MOST_DECODERS)
