"""Reports of experiments over HTTP: what is shown, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from api.http.app import build_app
from api.http.auth import KeyRing, Scope
from tests.support.experiment_reports import make_picture, make_report, put_report
from tests.support.routes import BASE_URL, expect_problem, make_ring
from tests.support.still_service import StillService

PICTURE = "/v1/experiments/quick/claims-kinds.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments"
    put_report(folder)
    return folder


@pytest.fixture
def shown(service: StillService, folder: Path) -> Iterator[TestClient]:
    with _open(service, folder) as http:
        yield http


def _open(service: StillService, folder: Path | None, keys: KeyRing | None = None) -> TestClient:
    app = build_app(
        service, keys=keys or KeyRing(), registry=CollectorRegistry(), experiments=folder
    )
    return TestClient(app, base_url=BASE_URL, raise_server_exceptions=False)


def test_a_report_is_shown_without_its_cells(shown: TestClient) -> None:
    (report,) = shown.get("/v1/experiments").json()["experiments"]
    expected = make_report()
    del expected["cells"], expected["version"]
    assert report == expected


def test_full_runs_stand_behind_quick_ones(shown: TestClient, folder: Path) -> None:
    put_report(folder, profile="full")
    put_report(folder, experiment="accuracy")
    found = shown.get("/v1/experiments").json()["experiments"]
    assert [(r["experiment"], r["profile"]) for r in found] == [
        ("accuracy", "quick"),
        ("claims", "quick"),
        ("claims", "full"),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "zkpot-experiment-v0"},
        {"findings": [{"claim": "one"}]},
        {"figures": [{"file": "../../private.png", "caption": ""}]},
        {"seconds": "long"},
    ],
)
def test_what_is_no_report_is_left_out(
    shown: TestClient, folder: Path, changes: dict[str, object]
) -> None:
    put_report(folder, **changes)
    assert shown.get("/v1/experiments").json() == {"experiments": []}
    (folder / "quick" / "claims.json").write_bytes(b"\xff{")
    assert shown.get("/v1/experiments").json() == {"experiments": []}


def test_a_picture_of_a_report_is_shown(shown: TestClient) -> None:
    answer = shown.get(PICTURE)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.content == make_picture()


@pytest.mark.parametrize(
    "name", ["claims-other.png", "claims.json", "..%2fclaims.json", "%2e%2e/x-y.png", "a-b.png"]
)
def test_nothing_else_of_the_folder_is_served(shown: TestClient, folder: Path, name: str) -> None:
    (folder / "quick" / "claims-other.png").write_bytes(b"no report shows it")
    assert shown.get(f"/v1/experiments/quick/{name}").status_code in (404, 422)


def test_a_picture_that_is_gone_is_said(shown: TestClient, folder: Path) -> None:
    (folder / "quick" / "claims-kinds.png").unlink()
    expect_problem(shown.get(PICTURE), 404, "not_found")


def test_a_service_without_a_folder_shows_none(service: StillService) -> None:
    with _open(service, None) as http:
        assert http.get("/v1/experiments").json() == {"experiments": []}
        expect_problem(http.get(PICTURE), 404, "not_found")


def test_reports_are_for_callers_who_may_read(service: StillService, folder: Path) -> None:
    ring, headers = make_ring(Scope.READ)
    with _open(service, folder, ring) as http:
        for path in ("/v1/experiments", PICTURE):
            expect_problem(http.get(path), 401, "unauthorized")
            assert http.get(path, headers=headers).status_code == 200


def test_the_page_has_the_policy_of_pages(shown: TestClient) -> None:
    page = shown.get("/experiments")
    assert page.status_code == 200
    assert (
        page.headers["Content-Security-Policy"] == shown.get("/").headers["Content-Security-Policy"]
    )
    for path in ("/web/experiments.js", "/web/ask.js"):
        assert shown.get(path).status_code == 200
