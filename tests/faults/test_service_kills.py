"""Workers and servers that die or freeze: every accepted job ends once, with a proof that holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.queue.jobs import JobRecord, JobState
from prover.wire.verdict import Verdict
from tests.support.held_worker import PUBLISH
from tests.support.service_lab import Lab, await_line, go_on, open_lab

DAILY = ("load key", "commit", "prove", PUBLISH)
"""A queue knows of a worker what it reported, and a kill leaves nothing else: stages between two of
these differ in the last report alone."""
BETWEEN = ("witness 1", "challenges", "witness 2", "verify")
STAGES = (*DAILY, *(pytest.param(stage, marks=pytest.mark.soak) for stage in BETWEEN))


@pytest.fixture
def lab(tmp_path: Path, keys: Path) -> Iterator[Lab]:
    with open_lab(tmp_path / "lab", keys) as lab:
        yield lab


def assert_proven_once(lab: Lab, record: JobRecord) -> None:
    assert record.state is JobState.DONE, record.error
    assert set(lab.judge(record)) == {Verdict.VALID}
    assert lab.count_ends(record.id) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_killed_in_a_stage_costs_one_attempt(lab: Lab, stage: str) -> None:
    job = lab.submit(lab.make_spec())
    victim = lab.start_worker("victim", hold=stage)
    await_line(victim, "held")
    victim.kill()
    lab.start_worker("heir")
    record = lab.await_end(job)
    assert_proven_once(lab, record)
    assert record.attempts == 2
    assert lab.count("reclaims") == 1


def test_a_worker_killed_with_two_jobs_in_hand_loses_neither(tmp_path: Path, keys: Path) -> None:
    with open_lab(tmp_path / "lab", keys, in_flight=2) as lab:
        jobs = [lab.submit(lab.make_spec()), lab.submit_product(3, 5)]
        victim = lab.start_worker("victim", hold="prove")
        await_line(victim, "held")
        lab.await_start(jobs[1])
        victim.kill()
        lab.start_worker("heir")
        records = [lab.await_end(job) for job in jobs]
        assert_proven_once(lab, records[0])
        assert lab.judge_product(jobs[1], 15) is Verdict.VALID
        assert [record.attempts for record in records] == [2, 2]
        assert lab.count("reclaims") == 2


def test_a_frozen_worker_that_wakes_is_fenced_off(lab: Lab) -> None:
    job = lab.submit(lab.make_spec())
    frozen = lab.start_worker("frozen", hold=PUBLISH)
    await_line(frozen, "held")
    os.kill(frozen.pid, signal.SIGSTOP)  # its lease keeper too
    lab.start_worker("heir")
    record = lab.await_end(job)
    results = lab.queue.get_results(job)
    os.kill(frozen.pid, signal.SIGCONT)
    go_on(frozen)
    other = lab.submit(lab.make_spec(1))
    frozen.send_signal(signal.SIGTERM)
    frozen.wait(60)  # it has spoken its last word by then
    assert lab.count("fenced") == 1
    assert lab.queue.get_results(job) == results
    assert_proven_once(lab, record)
    assert_proven_once(lab, lab.await_end(other))


def test_the_queue_server_killed_in_mid_job_forgets_nothing(lab: Lab) -> None:
    waiting = [lab.submit(lab.make_spec(i)) for i in range(3)]
    worker = lab.start_worker("w", hold="prove")
    await_line(worker, "held")
    lab.kill_server()
    go_on(worker)  # it finds nobody for a while
    lab.server.start()
    for job in waiting:
        assert_proven_once(lab, lab.await_end(job))


def test_server_and_all_workers_killed_at_once(lab: Lab) -> None:
    jobs = [lab.submit(lab.make_spec(i)) for i in range(3)]
    workers = [lab.start_worker(f"w{i}", hold="commit") for i in range(2)]
    for worker in workers:
        await_line(worker, "held")
    for worker in workers:
        worker.kill()
    lab.kill_server()
    lab.server.start()
    lab.start_worker("next")
    for job in jobs:
        assert_proven_once(lab, lab.await_end(job))


def test_a_job_that_kills_its_workers_becomes_a_dead_letter(tmp_path: Path, keys: Path) -> None:
    with open_lab(tmp_path / "lab", keys, max_deliveries=2) as lab:
        job = lab.submit(lab.make_spec())
        for name in ("first", "second"):
            victim = lab.start_worker(name, hold="prove")
            await_line(victim, "held")
            victim.kill()
        lab.start_worker("third")
        record = lab.await_end(job)
        assert record.state is JobState.FAILED
        assert record.error is not None
        assert record.error.code == "worker_lost"
        assert lab.count_ends(job) == 1


def test_a_stopped_worker_gives_its_task_back_and_costs_no_attempt(
    tmp_path: Path, keys: Path
) -> None:
    with open_lab(tmp_path / "lab", keys) as lab:
        job = lab.submit(lab.make_spec())
        worker = lab.start_worker("w", hold="prove")
        await_line(worker, "held")
        worker.send_signal(signal.SIGTERM)
        go_on(worker)  # within its grace it finishes
        assert worker.wait(60) == 0
        assert_proven_once(lab, lab.await_end(job))


def test_shards_of_a_job_survive_the_loss_of_one_worker(lab: Lab) -> None:
    job = lab.submit(lab.make_spec(n=64))
    victim = lab.start_worker("victim", hold="prove")
    await_line(victim, "held")
    lab.start_worker("a")
    lab.start_worker("b")
    victim.kill()
    record = lab.await_end(job)
    assert record.n_tasks == 4
    assert_proven_once(lab, record)
    shares = {lab.queue.redis.exists(lab.queue.prefix + "shared:" + job)}
    assert shares == {0}, "the shared blinding outlives its job"


def test_cancelled_while_it_runs(lab: Lab) -> None:
    job = lab.submit(lab.make_spec())
    worker = lab.start_worker("w", hold="prove")
    await_line(worker, "held")
    lab.queue.cancel(job)
    go_on(worker)
    record = lab.await_end(job)
    assert record.state is JobState.CANCELLED
    after = lab.submit(lab.make_spec(1))  # the worker is free again
    assert_proven_once(lab, lab.await_end(after))
    assert lab.queue.get_results(job) is None
    assert lab.count_ends(job) == 1
