"""Contributions by the bare protocol: what is taken, and what each wrong step is answered with."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest
from starlette.testclient import TestClient

from api.ceremony.app import MAX_SMALL_BODIES
from api.ceremony.desk import Desk
from api.console.ceremony.folder import CeremonyFolder
from api.http.auth import Scope
from api.http.problems import ApiProblem
from prover.keys.folder import TRANSCRIPT_NAME
from tests.support.routes import expect_problem, make_ring
from tests.support.served_ceremonies import (
    Clock,
    Guest,
    ask,
    begin,
    checksum,
    copy_folder,
    make,
)


def test_contributions_one_after_the_other(http: TestClient, desk: Desk, folder: Path) -> None:
    alice, bob = Guest.join(http, "alice"), Guest.join(http, "bob")
    assert (alice.stage, bob.stage) == ("working", "waiting")
    assert bob.see()["n_ahead"] == 1
    first = make(folder, 1, "alice")
    alice.contribute(first)
    assert alice.stage == "checking"
    assert desk.check_next()
    assert (alice.stage, alice.see()["detail"]) == ("accepted", first.place)
    assert bob.stage == "working"
    assert bob.see()["place"] == first.place
    second = make(folder, 2, "bob")
    bob.contribute(second)
    assert desk.check_next()
    assert not desk.check_next()
    found = http.get("/v1/ceremony").json()
    assert found["contributions"] == [
        {"name": "alice", "place": first.place},
        {"name": "bob", "place": second.place},
    ]
    assert (found["at_work"], found["n_waiting"]) == (None, 0)
    ceremony = CeremonyFolder.load(folder)
    assert ceremony.transcript.place.hex() == second.place
    left = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert left == ["ceremony.transcript", "circuit.json", "first.key", "state-2.key"]
    assert [path.name for path in (folder / "queue").iterdir()] == ["queue.json"]
    assert alice.token not in (folder / "queue" / "queue.json").read_text()
    assert "testclient" not in (folder / "queue" / "queue.json").read_text()


def test_only_the_holder_of_the_token_in_its_turn(http: TestClient, folder: Path) -> None:
    alice, bob = Guest.join(http), Guest.join(http)
    made = make(folder, 1)
    expect_problem(bob.patch(0, made.state), 409, "not_your_turn")
    expect_problem(bob.hand_in(made.record), 409, "not_your_turn")
    for token in (bob.token, "", alice.token[:-1], "é"):
        thief = Guest(http, alice.id, token, {"Authorization": f"Bearer {token}".encode()})  # type: ignore[dict-item]
        for answer in (
            thief.patch(0, made.state),
            thief.hand_in(made.record),
            http.get(alice.path, headers=thief.headers),
            http.delete(alice.path, headers=thief.headers),
        ):
            expect_problem(answer, 401, "bad_token")
        assert thief.head().status_code == 401
    expect_problem(http.get("/v1/ceremony/tickets/" + "0" * 16), 404, "not_found")
    expect_problem(http.get("/v1/ceremony/tickets/..%2f..%2fx"), 404, "not_found")
    assert alice.see()["offset"] == 0


def test_an_upload_goes_on_from_where_it_is(http: TestClient, desk: Desk, folder: Path) -> None:
    alice = Guest.join(http)
    made = make(folder, 1)
    size = len(made.state)
    answer = alice.head()
    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == ("0", str(size))
    answer = alice.patch(0, made.state[:1000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "1000")
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert "GMT" in answer.headers["Upload-Expires"]
    expect_problem(alice.patch(0, made.state[:1000]), 409, "offset_mismatch")  # twice
    expect_problem(alice.patch(1001, made.state[1001:]), 409, "offset_mismatch")
    assert alice.patch(1000, b"").headers["Upload-Offset"] == "1000"
    expect_problem(alice.hand_in(made.record), 409, "offset_mismatch")  # too short
    bad = bytes([made.state[1000] ^ 1]) + made.state[1001:]
    altered = alice.patch(1000, bad, Upload_Checksum=checksum(made.state[1000:]))
    expect_problem(altered, 460, "checksum_mismatch")
    assert altered.headers["Tus-Resumable"] == "1.0.0"
    assert alice.head().headers["Upload-Offset"] == "1000"
    expect_problem(alice.patch(1000, made.state[1000:] + b"x"), 413, "body_too_large")
    assert alice.patch(1000, made.state[1000:]).status_code == 204
    expect_problem(alice.patch(size, b"x"), 413, "body_too_large")
    assert alice.hand_in(made.record).status_code == 202
    assert alice.hand_in(made.record).json()["stage"] == "checking"  # its answer was lost
    expect_problem(alice.patch(size, b""), 409, "not_your_turn")
    expect_problem(http.delete(alice.path, headers=alice.headers), 409, "conflict")
    assert desk.check_next()
    assert alice.stage == "accepted"
    expect_problem(alice.patch(0, made.state), 410, "gone")
    assert alice.hand_in(made.record).json()["stage"] == "accepted"


def test_the_same_chunk_twice_at_once(http: TestClient, desk: Desk, folder: Path) -> None:
    """One of them is taken, whole."""
    alice = Guest.join(http)
    made = make(folder, 1)
    together = Barrier(2)

    def send(_: int) -> str:
        together.wait(60)
        try:
            desk.write(alice.id, 0, made.state[:5000])
        except ApiProblem as problem:
            return problem.code
        return "taken"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(send, range(2))) == ["offset_mismatch", "taken"]
    assert alice.head().headers["Upload-Offset"] == "5000"


def test_chunks_that_are_none(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = Guest.join(http)
    expect_problem(alice.patch(0, b"x", Tus_Resumable="0.2.2"), 412, "unsupported_version")
    expect_problem(alice.patch(0, b"x", Content_Type="text/plain"), 415, "unsupported_media_type")
    for offset in ("-1", "1e3", "", "9" * 40):
        expect_problem(alice.patch(offset, b"x"), 400, "malformed_request")
    for told in ("md5 AAAA", "sha256", "sha256 !", "sha256 " + "A" * 3, b"sha256 \xe9A=="):
        answer = alice.patch(0, b"x", Upload_Checksum=told)
        expect_problem(answer, 400, "malformed_request")
    monkeypatch.setattr("api.ceremony.routes.MAX_CHUNK_BYTES", 64)
    expect_problem(alice.patch(0, bytes(65)), 413, "body_too_large")
    assert alice.head().headers["Upload-Offset"] == "0"
    assert http.options(f"{alice.path}/upload").headers["Tus-Extension"] == "checksum,expiration"


def test_a_body_without_a_length_is_bounded(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in pieces, and no more is kept than a chunk may have."""
    monkeypatch.setattr("api.ceremony.routes.MAX_CHUNK_BYTES", 64)
    alice = Guest.join(http)
    headers = alice.headers | {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": "0",
    }
    pieces = (bytes(60) for _ in range(4))
    answer = http.patch(f"{alice.path}/upload", content=pieces, headers=headers)
    expect_problem(answer, 413, "body_too_large")


def test_who_waits_takes_no_place_of_who_is_at_work(http: TestClient, folder: Path) -> None:
    """Bodies that come slowly, of as many strangers as the server has places."""
    alice, bob = Guest.join(http, "alice"), Guest.join(http, "bob")
    hall = http.app.state.hall
    made = make(folder, 1, "alice")
    with ExitStack() as stack:
        for i in range(MAX_SMALL_BODIES):
            stack.enter_context(hall.others.hold(f"at {i}"))
        expect_problem(http.post("/v1/ceremony/tickets", json={}), 429, "too_many_uploads")
        refused = bob.hand_in(b"slow")
        expect_problem(refused, 409, "not_your_turn")
        assert refused.headers["Connection"] == "close"
        alice.contribute(made)
        assert hall.desk.check_next()
        expect_problem(alice.hand_in(made.record), 429, "too_many_uploads")
    assert alice.hand_in(made.record).json()["detail"] == made.place


def test_what_is_no_contribution_is_refused_and_the_queue_goes_on(
    http: TestClient, desk: Desk, folder: Path, tmp_path: Path
) -> None:
    """Each ends its turn with the reason, and leaves the ceremony as it was."""
    before = (folder / TRANSCRIPT_NAME).read_bytes()
    made = make(folder, 1)
    state = bytearray(made.state)
    state[-100] ^= 1
    other = make(begin(tmp_path / "other"), 5, "mallory")
    cases = [
        (b"no record", made.state, "field_invalid"),
        (made.record + b"x", made.state, "field_invalid"),
        (made.record, bytes(state), "another moment"),
        (made.record, bytes(len(state)), "bad_format"),
        (made.record[:-1] + bytes([made.record[-1] ^ 1]), made.state, "does not prove"),
        (other.record, other.state, "another name"),
    ]
    for record, raw, why in cases:
        guest, following = Guest.join(http), Guest.join(http)
        guest.send(raw)
        assert guest.hand_in(record).status_code == 202
        assert desk.check_next()
        assert (guest.stage, following.stage) == ("refused", "working")
        assert why in guest.see()["detail"]
        assert http.delete(following.path, headers=following.headers).status_code == 204
    assert (folder / TRANSCRIPT_NAME).read_bytes() == before
    assert not list((folder / "queue").glob("upload-*"))
    last = Guest.join(http)
    last.contribute(made)
    assert desk.check_next()
    assert last.stage == "accepted"


def test_a_copy_of_the_last_contribution_and_one_of_an_older_state(
    http: TestClient, desk: Desk, folder: Path
) -> None:
    first, rival = make(folder, 1), make(folder, 2)
    alice = Guest.join(http)
    alice.contribute(first)
    assert desk.check_next()
    for made in (first, rival):
        guest = Guest.join(http)
        guest.contribute(made)
        assert desk.check_next()
        assert guest.stage == "refused"
        assert "contribution 2 does not prove, at this place" in guest.see()["detail"]
    assert CeremonyFolder.load(folder).transcript.place.hex() == first.place


def test_somebody_contributed_by_file_meanwhile(
    http: TestClient, desk: Desk, folder: Path, tmp_path: Path
) -> None:
    """The lock of a folder keeps that from happening; where it did, nothing is overwritten."""
    mine, theirs = make(folder, 1), make(folder, 2)
    alice = Guest.join(http)
    alice.contribute(mine)
    other = CeremonyFolder.load(folder)
    other.next_state.write_bytes(theirs.state)
    other.advance(theirs.transcript)
    assert desk.check_next()
    assert alice.stage == "refused"
    assert "of an old state" in alice.see()["detail"]
    found = http.get("/v1/ceremony").json()
    assert found["place"] == theirs.place
    assert CeremonyFolder.load(folder).transcript.place.hex() == theirs.place


def test_who_never_finishes_loses_its_turn(http: TestClient, clock: Clock, folder: Path) -> None:
    alice, bob = Guest.join(http), Guest.join(http)
    made = make(folder, 1)
    for _ in range(5):
        clock.now += 18
        alice.see()  # to ask moves nothing
        bob.see()
    alice.patch(0, made.state[:10])
    for _ in range(5):
        clock.now += 18
        assert bob.stage == "waiting"
    clock.now += 12
    assert bob.stage == "working"
    assert alice.stage == "late"
    expect_problem(alice.patch(10, made.state[10:]), 410, "gone")
    assert not list((folder / "queue").glob("upload-*"))
    again = Guest.join(http)
    assert again.see()["n_ahead"] == 1


def test_downloads_of_who_is_at_work_count_as_progress(http: TestClient, clock: Clock) -> None:
    alice, bob = Guest.join(http), Guest.join(http)
    path = f"/v1/ceremony/files/first.key?ticket={alice.id}"
    for _ in range(10):
        clock.now += 19
        bob.see()
        answer = http.get(path, headers=alice.headers | {"Range": "bytes=0-9"})
        assert answer.status_code == 206
    assert alice.stage == "working"
    expect_problem(http.get(path, headers=bob.headers), 401, "bad_token")
    expect_problem(http.get(path), 401, "bad_token")


def test_queues_have_an_end(http: TestClient, desk: Desk) -> None:
    for _ in range(3):
        Guest.join(http)
    full = http.post("/v1/ceremony/tickets", json={})
    problem = expect_problem(full, 429, "quota_full")
    assert "3 contributors" in str(problem["detail"])
    with ask(desk, rates={"join": "1/hour"}) as slow:
        slow.post("/v1/ceremony/tickets", json={})
        expect_problem(slow.post("/v1/ceremony/tickets", json={}), 429, "rate_limited")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"name": 1}',
        b'{"name": "\\u0007"}',
        b'{"name": "a", "x": 1}',
        b'{"name": "\xff"}',
        b'{"name": "%s"}' % (b"a" * 65),
        b"[" * 1000,
    ],
)
def test_who_cannot_join(http: TestClient, body: bytes) -> None:
    answer = http.post("/v1/ceremony/tickets", content=body)
    expect_problem(answer, 422, "invalid_request")
    expect_problem(http.post("/v1/ceremony/tickets", content=bytes(2000)), 413, "body_too_large")


def test_a_server_with_keys(desk: Desk, folder: Path) -> None:
    ring, headers = make_ring(Scope.CONTRIBUTE)
    reader, wrong = make_ring(Scope.READ)
    with ask(desk, keys=ring) as http:
        assert http.get("/v1/ceremony").json()["needs_key"] is True
        path = "/v1/ceremony/tickets"
        expect_problem(http.post(path, json={}), 401, "unauthorized")
        assert Guest.join(http, headers=headers).stage == "working"
    with ask(desk, keys=reader) as http:
        expect_problem(http.post(path, json={}, headers=wrong), 403, "forbidden")
    with ask(desk, rates={"guess": "2/hour"}) as http:
        for status in (401, 401, 429):
            guess = http.get(f"{path}/{'0' * 16}").status_code
            assert guess in (404, status)


def test_another_ceremony_of_the_same_circuit_is_another(
    http: TestClient, desk: Desk, folder: Path, tmp_path: Path
) -> None:
    """A state that follows from another first state, though its own record is right."""
    made = make(folder, 3)
    fork = copy_folder(folder, tmp_path / "fork")
    rival = make(fork, 4)
    shutil.rmtree(fork)
    alice = Guest.join(http)
    alice.send(rival.state)
    assert alice.hand_in(made.record).status_code == 202
    assert desk.check_next()
    assert "bad_format" in alice.see()["detail"]
