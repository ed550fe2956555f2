"""A thousand jobs over four workers that are killed at random: a thousand ends."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from api.jobs import JobState
from prover.verdict import Verdict
from tests.support.service_lab import open_lab

N_JOBS = 1000
N_WORKERS = 4
N_KILLS = 12


@pytest.mark.slow
def test_a_thousand_jobs_end_once_each(tmp_path: Path, keys: Path, rng: Random) -> None:
    with open_lab(tmp_path / "lab", keys, max_deliveries=N_KILLS + 1) as lab:
        jobs = [lab.submit(lab.make_spec(i)) for i in range(N_JOBS)]
        assert len(set(jobs)) == N_JOBS
        workers = [lab.start_worker(f"w{i}") for i in range(N_WORKERS)]
        # Kills come when a given number of proofs is published, so at no given time.
        for kill, after in enumerate(sorted(rng.sample(range(N_JOBS - 100), N_KILLS))):
            bell = jobs[after]
            lab.await_end(bell)
            victim = workers.pop(rng.randrange(N_WORKERS))
            victim.kill()
            workers.append(lab.start_worker(f"heir{kill}"))
        records = [lab.await_end(job) for job in jobs]
        assert Counter(record.state for record in records) == {JobState.DONE: N_JOBS}
        assert all(lab.count_ends(job) == 1 for job in jobs)
        assert lab.count("proofs") == N_JOBS
        assert lab.queue.redis.xlen(lab.queue.prefix + "queue:normal") == 0
        for record in rng.sample(records, 20):
            assert lab.judge(record) == [Verdict.VALID]
