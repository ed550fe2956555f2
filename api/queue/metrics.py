"""What Prometheus sees of queue and workers: counted in the server, read when it is scraped.

Any process may answer for all of them, and numbers outlive the processes that counted. Names of the
streams follow redis_exporter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from api.queue.admin import Heartbeat, QueueAdmin, QueueLoad
from api.queue.jobs import JobState
from api.queue.queue import JobQueue

BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_COUNTERS = {
    "submitted": ("zkpot_jobs_submitted", "Jobs that came"),
    "proofs": ("zkpot_proofs", "Proofs published, one per shard, step or export"),
    "steps": ("zkpot_training_steps", "Steps of training under published proofs"),
    "samples": ("zkpot_samples_proven", "Samples under published proofs"),
    "retries": ("zkpot_retries", "Tasks put back after a failure"),
    "reclaims": ("zkpot_reclaims", "Tasks taken over from a worker that was lost"),
    "dead_letters": ("zkpot_dead_letters", "Tasks given up"),
    "fenced": ("zkpot_fenced_results", "Results refused because the task was another's by then"),
    "device_faults": ("zkpot_device_faults", "Tasks done again on another device"),
    "cache_hits": ("zkpot_key_cache_hits", "Keys and bases that were ready in memory"),
    "cache_misses": ("zkpot_key_cache_misses", "Keys and bases that were loaded or made"),
}


class Meter:
    """What a worker counts. Raises redis.RedisError."""

    def __init__(self, queue: JobQueue) -> None:
        self._redis, self._prefix = queue.redis, queue.prefix

    def count(self, name: str, by: float = 1) -> None:
        """Adds to a counter of `_COUNTERS`."""
        if by:
            self._redis.hincrbyfloat(self._prefix + "counters", name, by)

    def observe_stages(self, stages_s: Mapping[str, float]) -> None:
        """Seconds of one task by stage."""
        with self._redis.pipeline() as pipe:
            for stage, seconds in stages_s.items():
                bucket = next((b for b in BUCKETS_S if seconds <= b), "+Inf")
                pipe.hincrby(self._prefix + "stages", f"{stage}|{bucket}", 1)
                pipe.hincrbyfloat(self._prefix + "stages", f"{stage}|sum", seconds)
            pipe.execute()


class QueueCollector(Collector):
    """Reads everything at a scrape; `zkpot_queue_up` alone, with 0, when the server is down."""

    def __init__(self, queue: JobQueue, registry: CollectorRegistry | None = None) -> None:
        self._queue, self._admin = queue, QueueAdmin(queue)
        if registry is not None:
            registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Without it a registry would collect, and need the server, when this is registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        try:
            found = [*self._collect_all()]
        except RedisError:
            found = []
        up = GaugeMetricFamily("zkpot_queue_up", "Whether the queue server answers")
        up.add_metric([], 1.0 if found else 0.0)
        return [up, *found]

    def _collect_all(self) -> Iterable[Metric]:
        load = self._admin.view_load()
        counters = self._read("counters")
        yield from _stream_metrics(self._queue.prefix, load)
        yield _job_metric(load, counters)
        for name, (metric, text) in _COUNTERS.items():
            yield CounterMetricFamily(metric, text, value=counters.get(name, 0.0))
        yield _gauge("zkpot_dead_letters_kept", "Dead letters to look at", load.dead)
        yield _gauge("zkpot_tasks_retrying", "Tasks that wait for another attempt", load.retrying)
        yield _stage_metric(self._read("stages"))
        yield from _worker_metrics(self._admin.list_workers())

    def _read(self, name: str) -> dict[str, float]:
        stored: dict[bytes, Any] = self._queue.redis.hgetall(self._queue.prefix + name)
        return {key.decode(): float(value) for key, value in stored.items()}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _stream_metrics(prefix: str, load: QueueLoad) -> Iterable[Metric]:
    labels = ["stream", "group"]
    length = GaugeMetricFamily("redis_stream_length", "Tasks in a stream", labels=["stream"])
    lag = GaugeMetricFamily("redis_stream_group_lag", "Tasks not yet taken", labels=labels)
    pending = GaugeMetricFamily(
        "redis_stream_group_messages_pending", "Tasks in the hands of workers", labels=labels
    )
    age = GaugeMetricFamily(
        "zkpot_queue_oldest_age_seconds", "Age of the oldest waiting task", labels=["priority"]
    )
    for priority, part in load.priorities.items():
        stream = f"{prefix}queue:{priority.value}"
        length.add_metric([stream], part.waiting + part.leased)
        lag.add_metric([stream, "workers"], part.waiting)
        pending.add_metric([stream, "workers"], part.leased)
        age.add_metric([priority.value], part.oldest_age_s or 0.0)
    return [length, lag, pending, age]


def _job_metric(load: QueueLoad, counters: Mapping[str, float]) -> Metric:
    """Open jobs as they are, ended ones as many as there were."""
    jobs = GaugeMetricFamily("zkpot_jobs", "Jobs by state", labels=["state"])
    for state in JobState:
        ended = counters.get(f"ended_{state.value}", 0.0)
        jobs.add_metric([state.value], ended if state.is_end else load.jobs[state])
    return jobs


def _stage_metric(stored: Mapping[str, float]) -> Metric:
    metric = HistogramMetricFamily(
        "zkpot_stage_seconds", "Seconds of a task by stage", labels=["stage"]
    )
    for stage in sorted({name.partition("|")[0] for name in stored}):
        total, buckets = 0.0, []
        for bound in (*BUCKETS_S, "+Inf"):
            total += stored.get(f"{stage}|{bound}", 0.0)
            buckets.append((str(bound), total))
        metric.add_metric([stage], buckets, stored.get(f"{stage}|sum", 0.0))
    return metric


def _worker_metrics(workers: list[Heartbeat]) -> Iterable[Metric]:
    labels = ["worker", "backend"]
    up = GaugeMetricFamily("zkpot_worker_up", "1 for a worker that is up", labels=labels)
    memory = GaugeMetricFamily("zkpot_worker_resident_bytes", "Memory of a worker", labels=labels)
    cached = GaugeMetricFamily("zkpot_key_cache_bytes", "Keys in a worker's memory", labels=labels)
    gpu = GaugeMetricFamily("zkpot_gpu_utilization_ratio", "Busy share of a GPU", labels=labels)
    for worker in workers:
        names = [worker.worker, worker.backend]
        up.add_metric(names, 1.0)
        memory.add_metric(names, worker.resident_bytes)
        cached.add_metric(names, worker.cached_bytes)
        if worker.gpu_utilization is not None:
            gpu.add_metric(names, worker.gpu_utilization)
    return [up, memory, cached, gpu]
