"""Queues of their own on a server that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.queue.queue import (
    JobQueue,
)
from tests.support.queue_server import (
    NewQueue,
    new_queue,
    running_server,
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("q")
    with running_server(folder):
        yield folder


@pytest.fixture
def make_queue(data_dir: Path) -> Iterator[NewQueue]:
    made: list[JobQueue] = []

    def make(**settings: int) -> JobQueue:
        made.append(new_queue(data_dir, **settings))
        return made[-1]

    yield make
    for queue in made:
        queue.redis.close()


@pytest.fixture
def queue(make_queue: NewQueue) -> JobQueue:
    return make_queue()
