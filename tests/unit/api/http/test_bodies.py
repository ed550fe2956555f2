"""What comes in bodies: numbers out of range, bytes that are no JSON, hostile files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest
from httpx2 import Response
from starlette.requests import Request
from starlette.testclient import TestClient

from api.http.problems import MEDIA_TYPE
from api.http.routes import jobs as routes_jobs
from api.http.routes import stock as routes_stock
from tests.support.routes import OCTETS, expect_problem
from tests.support.still_service import MODEL


@pytest.mark.parametrize(
    "change",
    [
        {"n_samples": -1},
        {"n_samples": 0},
        {"n_samples": float("nan")},
        {"n_samples": float("inf")},
        {"n_samples": 1e400},
        {"n_samples": 10**30},
        {"n_samples": True},
        {"n_samples": "16"},
        {"deadline_s": -5},
        {"deadline_s": float("nan")},
        {"priority": "urgent"},
        {"dataset": "../../etc/passwd"},
        {"dataset": "mnist:test[0:16]/../.."},
        {"dataset": "mnist:test[0:16]\n"},
        {"model_id": "../" * 10},
        {"model_id": "0" * 64 + "\n"},
        {"statement": {"round_index": -1}},
        {"statement": {"round_index": 2**63}},
        {"statement": {"chain_id": "x" * 65}},
        {"statement": {"chain_id": ""}},
        {"statement": {"unknown": 1}},
        {"unknown": 1},
    ],
)
def test_numbers_and_names_out_of_range(
    http: TestClient, request_body: dict[str, object], change: dict[str, object]
) -> None:
    raw = json.dumps({**request_body, **change})  # NaN and Infinity as Python writes them
    answer = http.post("/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    problem = expect_problem(answer, 422, "invalid_request")
    assert problem["errors"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"a":' * 10_000, b'"' + b"a" * 100]
)
def test_bodies_that_are_no_json(http: TestClient, raw: bytes) -> None:
    answer = http.post("/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/verify"])
@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":[' + b"[]," * 600 + b"[]]}",
        b"[" * 2000,
        b"{" + b",".join(b'"%d":0' % i for i in range(1200)) + b"}",
    ],
)
def test_json_of_more_values_than_any_request_has_is_not_parsed(
    http: TestClient, path: str, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be between all other requests, for seconds where a body has MiB."""
    monkeypatch.setattr(Request, "json", None)
    answer = http.post(path, content=raw, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert answer.json()["detail"] == "more than 1024 brackets, braces and commas"


def test_bodies_over_the_limit(http: TestClient) -> None:
    def expect_limit(answer: Response, limit: int) -> None:
        problem = expect_problem(answer, 413, "body_too_large")
        assert problem["detail"] == f"the limit is {limit} bytes"

    expect_limit(http.post("/v1/jobs", content=b"a" * (1 << 17)), routes_jobs.MAX_JOB_BYTES)

    def chunks() -> Iterator[bytes]:  # without Content-Length
        for _ in range(32):
            yield b"a" * 4096

    large = http.post("/v1/verify", content=iter([b"a" * (1 << 24)]))
    expect_limit(large, routes_stock.MAX_VERIFY_BYTES)
    expect_limit(http.post("/v1/jobs", content=chunks()), routes_jobs.MAX_JOB_BYTES)


def bomb(n_manifest: int, manifest: bytes) -> bytes:
    """A .zkq file whose manifest is hostile."""
    return struct.pack("<8sIIQ", b"zkpotQM\x00", 1, n_manifest, 0) + manifest


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PK\x03\x04" + b"\0" * 100,
        b"\x80\x04\x95" + b"\0" * 64,  # a pickle
        bomb(0xFFFFFFFF, b"{}"),
        bomb(60_000, b"[" * 60_000),
        bomb(2, b"{}"),
        bomb(
            96,
            b'{"input_shape":[1048576,1048576],"layers":[],"margin_bits":999999999999}'.ljust(96),
        ),
    ],
)
def test_hostile_models(http: TestClient, raw: bytes) -> None:
    expect_problem(http.post("/v1/models", content=raw, headers=OCTETS), 422, "bad_model")


def test_uploads_are_octets(http: TestClient) -> None:
    headers = {"Content-Type": "application/x-pickle"}
    answer = http.post("/v1/models", content=MODEL, headers=headers)
    expect_problem(answer, 415, "unsupported_media_type")


def test_bytes_that_are_no_commitment_are_refused(http: TestClient) -> None:
    answer = http.post("/v1/commitments", content=b"\xff" * 99, headers=OCTETS)
    assert answer.status_code == 422, answer.text
    long = http.post("/v1/commitments", content=b"\xff" * 2000, headers=OCTETS)
    expect_problem(long, 413, "body_too_large")


def test_problems_do_not_repeat_what_was_sent(
    http: TestClient, request_body: dict[str, object]
) -> None:
    secret = "s3cret-value"
    answer = http.post("/v1/jobs", json={**request_body, "priority": secret, secret[:4]: secret})
    assert answer.status_code == 422
    assert secret not in answer.text
