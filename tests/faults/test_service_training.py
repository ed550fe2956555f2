"""Workers of a training job: they share its steps, and one that dies costs one attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.queue.jobs import JobRecord, JobState
from prover.wire.verdict import Verdict
from tests.support.held_worker import PUBLISH
from tests.support.ordered import CHOSEN, trained
from tests.support.service_lab import Lab, await_line, go_on, open_lab

N_TASKS = len(CHOSEN) + 1


@pytest.fixture(scope="module")
def training_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of keys, filled by a worker that needed them."""
    folder = tmp_path_factory.mktemp("training")
    with open_lab(folder) as lab:
        job = lab.submit_training(trained().write((1,)))
        lab.start_worker("maker")
        assert lab.await_end(job).state is JobState.DONE
    return folder / "keys"


@pytest.fixture
def lab(tmp_path: Path, training_keys: Path) -> Iterator[Lab]:
    with open_lab(tmp_path / "lab", training_keys) as lab:
        yield lab


def find(lab: Lab, job: str) -> JobRecord:
    record = lab.queue.get(job)
    assert record is not None
    return record


def assert_proven_once(lab: Lab, job: str, *, attempts: int) -> None:
    record = lab.await_end(job)
    assert record.state is JobState.DONE, record.error
    assert (record.n_steps_done, record.attempts) == (len(CHOSEN), attempts)
    assert lab.judge_training(job) is Verdict.VALID
    assert lab.count_ends(job) == 1


def test_a_worker_killed_between_steps_loses_none(lab: Lab) -> None:
    """What it had published stays; what it had made and not published is made again."""
    job = lab.submit_training(trained().write())
    victim = lab.start_worker("victim", hold=PUBLISH, time=2)
    await_line(victim, "held")
    assert (find(lab, job).n_steps_done, find(lab, job).n_done) == (1, 1)
    victim.kill()
    lab.start_worker("heir")
    assert_proven_once(lab, job, attempts=N_TASKS + 1)
    assert lab.count("reclaims") == 1


def test_two_workers_share_the_steps_of_one_job(lab: Lab) -> None:
    job = lab.submit_training(trained().write())
    workers = [lab.start_worker(name, hold=PUBLISH) for name in ("first", "second")]
    for worker in workers:  # each has a proof of its own by then
        await_line(worker, "held")
    assert (find(lab, job).n_steps_done, find(lab, job).attempts) == (0, 2)
    for worker in workers:
        go_on(worker)
    assert_proven_once(lab, job, attempts=N_TASKS)
