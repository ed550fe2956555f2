"""The service over a real queue: uploads, owners, refusals, failures, metrics."""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from safetensors.numpy import save

from api.assembly import build_service
from api.http.problems import ApiProblem
from api.queue.admin import Heartbeat, QueueAdmin
from api.queue.jobs import Priority
from api.queue.metrics import QueueCollector
from api.settings import MAX_TASKS_PER_JOB
from prover.errors import FormatError
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.models import random_model
from tests.support.proving_service import (
    ALICE,
    BOB,
    N_SAMPLES,
    do,
    make_samples,
    submit_product,
    upload,
    work,
)
from tests.support.still_service import ARCHITECTURE, MODEL, StillService


def test_more_shards_than_a_job_may_have_are_refused(service: StillService) -> None:
    samples = make_samples(2 * MAX_TASKS_PER_JOB + 1)
    dataset = service.put_dataset(ALICE, save(samples)).id
    with pytest.raises(ApiProblem, match="more than 4096 shards"):
        service.submit(ALICE, upload(service, dataset=dataset, n_samples=2), None)


def test_a_store_that_cannot_be_written_is_named(
    service: StillService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/private/path")

    monkeypatch.setattr(os, "fsync", fail)
    raw = encode_model(random_model(ARCHITECTURE, np.random.default_rng(77)))
    with pytest.raises(ApiProblem, match="unavailable: the store") as refused:
        service.put_model(ALICE, raw)
    assert "/private" not in str(refused.value)


@pytest.mark.parametrize("raw", [b"", b"\xff" * 64, MODEL])
def test_bytes_that_are_no_commitment_are_refused(service: StillService, raw: bytes) -> None:
    with pytest.raises(FormatError):
        service.put_commitment(ALICE, raw)


def test_a_circuit_without_a_key_fails_by_name_when_keys_are_full(service: StillService) -> None:
    job = do(service, upload(service, 3, n_samples=3), keys_limit_bytes=1)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.code == "keys_full"
    assert "GET /v1/circuits" in job.error.message


def test_a_caller_with_too_many_results_waits(service: StillService) -> None:
    do(service, upload(service))
    narrow = build_service(service.redis, replace(service.settings, owner_bytes_limit=1))
    with pytest.raises(ApiProblem) as refused:
        narrow.submit(ALICE, upload(service, 6), None)
    assert refused.value.code == "quota_full"
    assert refused.value.headers["Retry-After"] == "3600"


def test_a_result_beyond_its_owners_share_fails_by_name(service: StillService) -> None:
    job = submit_product(service, Priority.HIGH)
    work(service, owner_bytes_limit=1)
    ended = service.get_job(ALICE, job.id)
    assert (ended.state, ended.error and ended.error.code) == ("failed", "quota_full")
    assert list(service.settings.data_dir.glob("private/*")) == []


def test_things_of_others_do_not_exist(service: StillService) -> None:
    request = upload(service)
    job = service.submit(ALICE, request, None)
    for ask in (service.get_job, service.cancel, service.get_proof, service.describe_proof):
        with pytest.raises(ApiProblem, match="not_found"):
            ask(BOB, job.id)
    with pytest.raises(ApiProblem, match="not_found"):
        service.submit(BOB, request, None)
    assert service.list_jobs(BOB, limit=10, before=None).jobs == []


def test_lists_go_on_where_they_ended(service: StillService) -> None:
    request = upload(service)
    ids = [
        service.submit(ALICE, request.model_copy(update={"deadline_s": 60 + n}), None).id
        for n in range(5)
    ]
    first = service.list_jobs(ALICE, limit=2, before=None)
    rest = service.list_jobs(ALICE, limit=9, before=first.next)
    assert {job.id for job in (*first.jobs, *rest.jobs)} == set(ids)
    assert len(first.jobs) + len(rest.jobs) == 5
    assert rest.next is None


def test_a_cancelled_job_has_no_proof_and_may_come_again(service: StillService) -> None:
    request = upload(service)
    job = service.submit(ALICE, request, None)
    assert service.cancel(ALICE, job.id).state == "cancelled"
    work(service)
    with pytest.raises(ApiProblem, match="not_ready"):
        service.get_proof(ALICE, job.id)
    assert do(service, request).state == "done"


def test_a_model_that_is_gone_fails_its_job_by_name(service: StillService) -> None:
    request = upload(service)
    job = service.submit(ALICE, request, None)
    (stored,) = service.settings.data_dir.glob(f"uploads/*/model/{request.model_id}")
    stored.unlink()
    work(service)
    error = service.get_job(ALICE, job.id).error
    assert error is not None
    assert error.code == "model_gone"


def test_a_proof_too_large_for_workers_is_refused(service: StillService) -> None:
    wide = Architecture.mlp([4, 512, 2])
    model = random_model(wide, np.random.default_rng(1))
    model_id = service.put_model(ALICE, encode_model(model)).id
    with pytest.raises(ApiProblem, match="take fewer samples"):
        service.submit(ALICE, upload(service, model_id=model_id, n_samples=4096), None)


def test_a_small_model_of_a_large_circuit_is_refused(service: StillService) -> None:
    """Its tables of quotients have 2^24 rows; the file has a few hundred bytes."""
    deep = Architecture.mlp([4, 3, 2], requant=Requant(q_bits=24))
    raw = encode_model(random_model(deep, np.random.default_rng(1)))
    assert len(raw) < 600
    model_id = service.put_model(ALICE, raw).id
    with pytest.raises(ApiProblem, match=r"has 167\d{5} rows, and the limit is 4194304"):
        service.submit(ALICE, upload(service, model_id=model_id, n_samples=2), None)


def test_samples_of_another_width_are_refused(service: StillService) -> None:
    dataset = service.put_dataset(ALICE, save(make_samples(4, width=5))).id
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.submit(ALICE, upload(service, dataset=dataset), None)


@pytest.mark.parametrize(
    "tensors",
    [
        {"images": np.ones((2, 4), np.uint8)},
        {"images": np.ones((2, 4), np.uint8), "labels": np.zeros(3, np.uint8)},
        {"images": np.ones((2, 4), np.float32), "labels": np.zeros(2, np.uint8)},
        {"images": np.ones((0, 4), np.uint8), "labels": np.zeros(0, np.uint8)},
        {"images": np.ones(4, np.uint8), "labels": np.zeros(4, np.uint8)},
    ],
)
def test_samples_of_other_shapes_are_refused(service: StillService, tensors: Any) -> None:
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.put_dataset(ALICE, save(tensors))


@pytest.mark.parametrize("raw", [b"", b"\xff" * 64, b"\x80\x04pickle"])
def test_bytes_that_are_no_samples_are_refused(service: StillService, raw: bytes) -> None:
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.put_dataset(ALICE, raw)


def test_every_metric_of_the_dashboard_is_exported(service: StillService, root: Path) -> None:
    do(service, upload(service))
    queue, registry = service.queue, CollectorRegistry()
    QueueCollector(queue, registry)
    heartbeat = Heartbeat(
        worker="w",
        backend="cuda",
        device="a GPU",
        job_id=None,
        draining=False,
        resident_bytes=1,
        cached_bytes=1,
        gpu_utilization=0.5,
    )
    QueueAdmin(queue).beat(heartbeat)
    text = generate_latest(registry).decode()
    exported = set(re.findall(r"^([a-z_]+)(?:\{|\s)", text, re.MULTILINE))
    board = json.loads((root / "deploy/grafana/dashboards/zkpot.json").read_text())
    expressions = " ".join(t["expr"] for panel in board["panels"] for t in panel["targets"])
    wanted = set(re.findall(r"\b((?:zkpot|redis_stream)_[a-z_]+)", expressions))
    assert len(wanted) > 15
    assert wanted <= exported
    assert 'zkpot_stage_seconds_count{stage="msm"} 1.0' in text
    assert f"zkpot_samples_proven_total {N_SAMPLES:.1f}" in text
