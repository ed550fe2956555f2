"""What the service itself tells Prometheus, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.problems import ApiProblem
from api.service import ServiceBackend


class ServiceCollector(Collector):
    """Queue and workers of a backend; nothing of them while it cannot be reached."""

    def __init__(self, backend: ServiceBackend) -> None:
        self._backend = backend

    def describe(self) -> list[GaugeMetricFamily]:
        """Without this, registering would already ask the backend."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            queue, workers = self._backend.view_queue(), self._backend.view_workers().workers
        except ApiProblem:
            yield _gauge("zkpot_service_up", "Queue and store answer.", 0)
            return
        yield _gauge("zkpot_service_up", "Queue and store answer.", 1)
        waiting, leased, age = (
            GaugeMetricFamily(f"zkpot_queue_{name}", text, labels=["priority"])
            for name, text in (
                ("waiting", "Jobs that wait."),
                ("leased", "Jobs that a worker has."),
                ("oldest_age_seconds", "How long the oldest job waits."),
            )
        )
        for priority, view in queue.priorities.items():
            waiting.add_metric([priority], view.waiting)
            leased.add_metric([priority], view.leased)
            age.add_metric([priority], view.oldest_age_s or 0.0)
        yield from (waiting, leased, age)
        yield _gauge(
            "zkpot_queue_retrying", "Jobs that wait for their next attempt.", queue.retrying
        )
        yield _gauge("zkpot_queue_dead", "Dead letters.", queue.dead)
        yield _gauge("zkpot_queue_limit", "Jobs that may wait at most.", queue.limit)
        yield _gauge("zkpot_workers_up", "Workers that reported in time.", len(workers))
        busy = sum(worker.job_id is not None for worker in workers)
        yield _gauge("zkpot_workers_busy", "Workers that prove.", busy)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
