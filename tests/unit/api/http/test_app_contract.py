"""The whole OpenAPI document, tried by schemathesis: described answers only, no 5xx."""

from __future__ import annotations

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
from tests.support.memory_service import MemoryService

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
FAST = dict.fromkeys(("read", "submit", "verify", "guess"), "1000000/second")

app = build_app(
    MemoryService(),
    keys=KeyRing(),
    registry=CollectorRegistry(),
    rates=FAST,
    names=[asgi.HOST],
)
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
def test_answers_are_those_described(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=list(CHECKS))
