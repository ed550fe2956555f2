"""What the fault tests share: the key of their small circuit, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.queue.jobs import JobState
from tests.support.service_lab import open_lab


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of keys, filled by a worker that needed one."""
    folder = tmp_path_factory.mktemp("first")
    with open_lab(folder) as lab:
        job = lab.submit(lab.make_spec())
        lab.start_worker("maker")
        assert lab.await_end(job).state is JobState.DONE
    return folder / "keys"
