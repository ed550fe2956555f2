"""The whole OpenAPI document, tried by schemathesis: described answers only, no 5xx."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from prometheus_client import CollectorRegistry
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.http.app import build_app
from api.http.auth import KeyRing
from api.settings import Settings
from tests.support.queue_server import running_server
from tests.support.still_service import StillService

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
WAIT_S = 300.0  # of an answer; an import takes a process of its own, on any machine
FAST = dict.fromkeys(("read", "submit", "verify", "guess"), "1000000/second")


# The document is read before there are fixtures: a client connects when it is first used.
folder = Path(tempfile.gettempdir()) / f"zkpot-contract-{os.getpid()}"
service = StillService(Settings(data_dir=folder))
app = build_app(
    service, keys=KeyRing(), registry=CollectorRegistry(), rates=FAST, names=[asgi.HOST]
)
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    try:
        with running_server(folder), closing(service):
            yield
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
def test_answers_are_those_described(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=list(CHECKS), timeout=WAIT_S)
