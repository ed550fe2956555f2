"""Hundreds of jobs over four workers that are killed at random: as many ends, with proofs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from api.queue.jobs import JobState
from prover.wire.verdict import Verdict
from tests.support.service_lab import open_lab

N_WORKERS = 4
N_KILLS = 8


@pytest.mark.parametrize("n_jobs", [250, pytest.param(1000, marks=pytest.mark.soak)])
def test_all_jobs_end_once_each(n_jobs: int, tmp_path: Path, rng: Random) -> None:
    """Kills come when chosen jobs have ended, so at no given time; any stage may be under way."""
    products = [(3 + i, 1000 + i) for i in range(n_jobs)]
    with open_lab(tmp_path / "lab", max_deliveries=N_KILLS + 1) as lab:
        jobs = [lab.submit_product(a, b) for a, b in products]
        assert len(set(jobs)) == n_jobs
        workers = [lab.start_worker(f"w{i}") for i in range(N_WORKERS)]
        for kill, after in enumerate(sorted(rng.sample(range(n_jobs - 100), N_KILLS))):
            lab.await_end(jobs[after])
            workers.pop(rng.randrange(N_WORKERS)).kill()
            workers.append(lab.start_worker(f"heir{kill}"))
        records = [lab.await_end(job) for job in jobs]
        assert Counter(record.state for record in records) == {JobState.DONE: n_jobs}
        assert all(lab.count_ends(job) == 1 for job in jobs)
        assert lab.count("proofs") == n_jobs
        assert lab.queue.redis.xlen(lab.queue.prefix + "queue:normal") == 0
        for i in rng.sample(range(n_jobs), 50):
            a, b = products[i]
            assert lab.judge_product(jobs[i], a * b) is Verdict.VALID
