"""What `/metrics` counts, in Prometheus' text format. Each process counts for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from pixelsleuth.core.verdict import Verdict
    from pixelsleuth.serving.service import Service

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms of times."""
SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Upper bounds of the histogram of batch sizes."""


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter(
            "pixelsleuth_requests", "Requests answered.", ["route", "method", "status"], registry=own
        )
        self.latency = Histogram(
            "pixelsleuth_request_seconds", "Time from a request's head to the end of its answer.",
            ["route"], buckets=SECONDS, registry=own,
        )  # fmt: skip
        self.wait = Histogram(
            "pixelsleuth_queue_wait_seconds", "Time that a decoded picture waited to be judged.",
            buckets=SECONDS, registry=own,
        )  # fmt: skip
        self.batch = Histogram(
            "pixelsleuth_batch_pictures", "Pictures judged together.", buckets=SIZES, registry=own
        )
        self.rejected = Counter(
            "pixelsleuth_rejected", "Requests refused under load.", ["code"], registry=own
        )
        self.verdicts = Counter("pixelsleuth_verdicts", "Verdicts by label.", ["label"], registry=own)
        self.accepted = Gauge("pixelsleuth_accepted", "Requests accepted and not answered yet.", registry=own)
        self.depth = Gauge(
            "pixelsleuth_queue_depth", "Pictures waiting to be judged.", ["model"], registry=own
        )
        self.expected = Gauge(
            "pixelsleuth_expected_wait_seconds", "What a picture that comes now is likely to wait.",
            ["model"], registry=own,
        )  # fmt: skip
        self.ready = Gauge("pixelsleuth_ready", "1 where the service is ready, else 0.", registry=own)
        self.replaced = Gauge("pixelsleuth_decoders_replaced", "Decoding processes that ended.", registry=own)
        self.kept = Gauge("pixelsleuth_kept_bytes", "Memory of the verdicts that are kept.", registry=own)

    def watch(self, batch: int, waits: list[float]) -> None:
        """Count one batch and what its pictures waited, in seconds."""
        self.batch.observe(batch)
        for seconds in waits:
            self.wait.observe(seconds)

    def judged(self, verdict: Verdict) -> None:
        """Count a verdict: its label, `inconclusive`, or `failed`."""
        label = "failed" if verdict.error else "inconclusive" if verdict.inconclusive else str(verdict.label)
        self.verdicts.labels(label).inc()

    def text(self, service: Service) -> bytes:
        """Everything in Prometheus' text format."""
        self.accepted.set(service.gate.inside)
        self.ready.set(service.ready and not service.draining)
        self.replaced.set(service.pool.replaced)
        self.kept.set(service.shelf.held)
        for name, lane in service.lanes.items():
            self.depth.labels(name).set(lane.depth)
            self.expected.labels(name).set(lane.expected_wait)
        return generate_latest(self.registry)
