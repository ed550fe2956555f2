"""A tiny ceremony, served in this process by a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.ceremony.desk import Desk
from tests.support.served_ceremonies import Clock, ask, begin, open_desk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begin(tmp_path / "ceremony")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(folder: Path, clock: Clock) -> Desk:
    return open_desk(folder, clock)


@pytest.fixture
def http(desk: Desk) -> Iterator[TestClient]:
    with ask(desk) as client:
        yield client
