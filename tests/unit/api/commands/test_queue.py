"""`zkpot queue`: the load, and dead letters from a look to a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import build_app
from api.queue.jobs import JobState
from api.queue.queue import JobQueue
from api.settings import Settings
from api.valkey.embedded import connect
from tests.support.queue_server import make_spec, running_server


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("q")
    with running_server(folder):
        yield folder


@pytest.fixture
def queue(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobQueue]:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(data_dir))
    settings = Settings(data_dir=data_dir, max_deliveries=1)
    with connect(settings) as redis:
        redis.flushall()
        yield JobQueue(redis, settings)


def ask(*arguments: str, exit_code: int = 0) -> str:
    done = CliRunner().invoke(build_app(), ["queue", *arguments])
    assert done.exit_code == exit_code, done.output
    return done.output


def ask_json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(*arguments, "--json"))
    return found


def give_up(queue: JobQueue, number: int = 0) -> str:
    """A job whose only attempt has failed."""
    job = queue.submit(make_spec(number))[0].id
    lease = queue.lease("w")
    assert lease is not None
    queue.fail(lease, "io_error", "the worker could not read", retry=True)
    return job


def test_the_load_is_shown(queue: JobQueue) -> None:
    for number in range(3):
        queue.submit(make_spec(number))
    assert queue.lease("w") is not None
    facts = ask_json("status")
    normal = facts["priorities"]["normal"]
    assert (normal["waiting"], normal["leased"], facts["dead"]) == (2, 1, 0)
    assert facts["jobs"]["running"] == 1
    (line,) = [line for line in ask("status").splitlines() if line.startswith("normal")]
    assert "2 waiting" in line
    assert line.endswith("1 being proven")


def test_a_dead_letter_is_seen_and_replayed(queue: JobQueue) -> None:
    job = give_up(queue)
    (letter,) = ask_json("dead")["letters"]
    assert (letter["job_id"], letter["code"], letter["attempts"]) == (job, "io_error", 1)
    assert f"job {job} task 0, 1 attempts, io_error: the worker could not read" in ask("dead")
    ask("replay", letter["id"])
    record = queue.get(job)
    assert record is not None
    assert record.state is JobState.QUEUED
    assert "no dead letters" in ask("dead")
    assert "no such dead letter" in ask("replay", letter["id"], exit_code=1)


def test_dead_letters_are_purged_when_one_is_sure(queue: JobQueue) -> None:
    for number in range(2):
        give_up(queue, number)
    ask("purge", exit_code=1)  # nobody says yes
    assert len(ask_json("dead")["letters"]) == 2
    assert ask_json("purge", "--yes") == {"deleted": 2}
    assert ask_json("dead") == {"letters": []}


def test_settings_that_cannot_be_meant_are_refused(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZKPOT_REDIS_URL", "http://queue")
    assert "ZKPOT_REDIS_URL" in ask("status", exit_code=2)
