"""The service that the routes are tested on: a real queue, whose jobs tests move by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.queue_server import running_server
from tests.support.routes import make_http
from tests.support.still_service import StillService, still_service


@pytest.fixture(scope="module")
def server_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a server that runs."""
    folder = tmp_path_factory.mktemp("routes")
    with running_server(folder):
        yield folder


@pytest.fixture
def service(server_dir: Path) -> Iterator[StillService]:
    with still_service(server_dir) as service:
        yield service


@pytest.fixture
def http(service: StillService) -> Iterator[TestClient]:
    with make_http(service) as client:
        yield client


@pytest.fixture
def request_body(service: StillService) -> dict[str, Any]:
    """For `POST /v1/jobs`."""
    return service.make_request().model_dump(mode="json")
