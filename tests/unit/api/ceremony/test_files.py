"""Files of a ceremony over HTTP: ranges, tricks with names, and the page."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.ceremony.desk import Desk
from tests.support.routes import expect_problem
from tests.support.served_ceremonies import Guest, ask, make

FILES = "/v1/ceremony/files/"


def test_files_are_what_the_ceremony_says(http: TestClient, folder: Path) -> None:
    found = http.get("/v1/ceremony").json()
    assert [one["name"] for one in found["files"]] == [
        "circuit.json",
        "ceremony.transcript",
        "first.key",
    ]
    for one in found["files"]:
        answer = http.get(FILES + one["name"])
        assert answer.content == (folder / one["name"]).read_bytes()
        assert (len(answer.content), sha256(answer.content).hexdigest()) == (
            one["n_bytes"],
            one["sha256"],
        )
        assert answer.headers["ETag"] == f'"{one["sha256"]}"'
    assert found["state_bytes"] == (folder / "first.key").stat().st_size


def test_ranges_go_on_while_the_file_is_the_same(http: TestClient, folder: Path) -> None:
    raw = (folder / "first.key").read_bytes()
    tag = http.head(FILES + "first.key").headers["ETag"]
    answer = http.get(FILES + "first.key", headers={"Range": "bytes=10-19", "If-Range": tag})
    assert (answer.status_code, answer.content) == (206, raw[10:20])
    assert answer.headers["Content-Range"] == f"bytes 10-19/{len(raw)}"
    answer = http.get(FILES + "first.key", headers={"Range": "bytes=-5"})
    assert answer.content == raw[-5:]
    other = http.get(FILES + "first.key", headers={"Range": "bytes=10-", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, raw)


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("bytes=99999999-", {416}),
        ("bytes=5-2", {400}),
        ("bytes=", {400}),
        ("bytes=-", {400}),
        ("bytes=--5", {400, 416}),
        ("lines=1-2", {400}),
        ("nonsense", {400}),
        ("bytes=" + "9" * 5000 + "-", {400}),
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(0, 3000, 2))[:7000], {200, 400}),
        ("bytes=0-,0-,0-,0-", {206}),
    ],
)
def test_ranges_that_are_nonsense(http: TestClient, text: str, statuses: set[int]) -> None:
    answer = http.get(FILES + "first.key", headers={"Range": text})
    assert answer.status_code in statuses
    if answer.status_code >= 400:
        code = {400: "malformed_request", 416: "range_not_satisfiable"}[answer.status_code]
        expect_problem(answer, answer.status_code, code)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("queue.json", 404),
        ("state-1.key", 404),
        ("%2e%2e", 422),
        ("..%2fqueue%2fqueue.json", 404),
        ("queue%2fqueue.json", 404),
        ("%2fetc%2fpasswd", 404),
        ("first.key%00", 422),
        ("a" * 300, 422),
        ("first.key/", 404),
    ],
)
def test_names_that_lead_nowhere(http: TestClient, name: str, status: int) -> None:
    answer = http.get(FILES + name, follow_redirects=False)
    assert answer.status_code in {status, 404, 307}
    assert b"token" not in answer.content


def test_old_states_are_gone_and_a_state_that_vanishes_is_not_there(
    http: TestClient, desk: Desk, folder: Path
) -> None:
    for seed in (1, 2):
        guest = Guest.join(http)
        guest.contribute(make(folder, seed))
        assert desk.check_next()
    assert http.get(FILES + "state-1.key").status_code == 404
    assert http.get(FILES + "state-2.key").status_code == 200
    (folder / "state-2.key").unlink()
    expect_problem(http.get(FILES + "state-2.key"), 404, "not_found")


def test_the_page_asks_for_nothing_from_elsewhere(http: TestClient) -> None:
    page = http.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for name in ("ceremony.js", "style.css", "dom.js", "ask.js", "format.js"):
        assert http.get(f"/web/{name}").status_code == 200
    script = http.get("/web/ceremony.js").text
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "innerHTML" not in script


def test_strangers_of_the_protocol(desk: Desk) -> None:
    with ask(desk) as http:
        long = http.get("/v1/ceremony", headers={"X-Long": "a" * 9000})
        expect_problem(long, 431, "headers_too_large")
        expect_problem(http.request("BREW", "/v1/ceremony"), 405, "method_not_allowed")
        expect_problem(http.put("/v1/ceremony", content=b"x"), 405, "method_not_allowed")
        other = http.get("/v1/ceremony", headers={"Host": "evil.example"})
        expect_problem(other, 403, "unknown_host")
        cross = http.post("/v1/ceremony/tickets", headers={"Origin": "https://evil.example"})
        expect_problem(cross, 403, "unknown_host")
    with ask(desk, rates={"read": "1/hour"}) as http:
        assert http.get("/v1/ceremony").status_code == 200
        expect_problem(http.get("/v1/ceremony"), 429, "rate_limited")
