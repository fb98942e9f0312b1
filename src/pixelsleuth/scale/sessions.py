"""Sessions of Ray: one of this machine that asks nobody, or a cluster that stands."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from pixelsleuth.errors import ClusterError, MissingExtra
from pixelsleuth.scale.pipeline import usual_workers

OBJECT_STORE = 128 << 20
"""Bytes of the object store of a session of this machine: numbers of shards go through it, no pictures."""
CONNECT_SECONDS = 10.0
"""Seconds that the head of a cluster may take to accept a connection."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""Settings of Ray that are read from the environment: no usage reports over the network, no notices."""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ray, connected to the cluster at `address` (`HOST:PORT`, `auto`) or to a session of this machine.

    A session that the caller has opened is used and stays open. Raises MissingExtra, ClusterError.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address is None:
        _guard()
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra("ray", "scale") from None
    # `max_task_retries` has no other way into a pool of actors; the extra's upper bound is where Ray drops it.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield ray
        return
    if address is not None:
        _answering(address)
    _start(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _answering(address: str) -> None:
    """Raise ClusterError where nobody listens at an address: Ray itself would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise ClusterError(
            f"{address} is no HOST:PORT; start the command on a node of the cluster, with --address auto."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _absent(address, error) from error


def _absent(address: str, error: BaseException) -> ClusterError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ClusterError(
        f"There is no Ray cluster at {address} ({reason}); start one with `ray start --head`."
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what the block writes on standard error, also from outside Python: Ray announces its own log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _guard() -> None:
    """Let only those into sessions of this machine who know a secret: Ray turns 127.0.0.1 into the host's address.

    Ray reads it when it is imported, so it stands in the environment as long as this process lives.
    """
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


def _start(ray: Any, address: str | None) -> None:
    """Connect, and take the signals back that Ray takes for itself."""
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": usual_workers(),
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        }
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _silent():
            ray.init(logging_level=logging.CRITICAL, log_to_driver=False, **options)
    except Exception as error:  # a node that does not start in time is a plain one
        if address is None:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ClusterError(f"Ray cannot start on this machine ({reason}).") from error
        raise _absent(address, error) from error
    finally:
        # Ray prints what happens to workers on standard output, whatever `log_to_driver` says.
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            from ray._private.ray_logging import global_worker_stdstream_dispatcher

            global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
        with contextlib.suppress(ValueError):  # in another thread than the main one nobody takes signals
            for number, handler in handlers.items():
                signal.signal(number, handler)
