"""A tiny ceremony, served in this process by a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.ceremony import remote
from api.ceremony.desk import Desk
from tests.support.contributors import Scene, Wire
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


@pytest.fixture
def scene(
    desk: Desk, http: TestClient, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    """A contributor who sends and asks for little at a time."""
    monkeypatch.setattr(remote, "_PIECE", 1 << 15)
    monkeypatch.setattr(remote, "MAX_CHUNK_BYTES", 1 << 15)
    http._transport = wire = Wire(http._transport)
    return Scene(desk, http, wire, clock, tmp_path / "work", [])
