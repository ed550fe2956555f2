"""A server that is killed at any moment: what was accepted stays, what was uploaded goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import enumerate as enumerate_threads
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ceremony import desk as desks
from api.ceremony import journal as journals
from api.ceremony.desk import Desk
from api.ceremony.serving import checking
from api.console.ceremony.folder import CeremonyFolder
from api.console.ceremony.holding import holding
from api.errors import FolderBusy
from prover.errors import FormatError
from tests.support.served_ceremonies import Clock, Guest, ask, make, open_desk


class Killed(BaseException):
    """The process is no more: nobody catches it."""


def reopen(folder: Path, clock: Clock) -> tuple[Desk, TestClient]:
    desk = open_desk(folder, clock, seed=2)
    return desk, ask(desk)


def test_the_queue_and_half_an_upload_survive(http: TestClient, folder: Path, clock: Clock) -> None:
    alice, bob = Guest.join(http, "alice"), Guest.join(http, "bob")
    made = make(folder, 1, "alice")
    alice.patch(0, made.state[:500])
    clock.now += 10_000  # while nobody serves
    desk, http = reopen(folder, clock)
    alice.http = bob.http = http
    assert (alice.stage, bob.stage) == ("working", "waiting")
    assert alice.head().headers["Upload-Offset"] == "500"
    assert alice.patch(500, made.state[500:]).status_code == 204
    assert alice.hand_in(made.record).status_code == 202
    assert desk.check_next()
    assert alice.see()["detail"] == made.place
    desk, http = reopen(folder, clock)
    alice.http = bob.http = http
    assert (alice.stage, bob.stage) == ("accepted", "working")


def test_killed_in_the_middle_of_a_chunk(
    http: TestClient, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of its bytes are on the disk: the upload goes on behind them."""
    alice = Guest.join(http)
    made = make(folder, 1)

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(journals.os, "fsync", kill)
        with pytest.raises(Killed):
            http.app.state.hall.desk.write(alice.id, 0, made.state[:300])
    desk, alice.http = reopen(folder, clock)
    assert alice.head().headers["Upload-Offset"] == "300"
    assert alice.patch(300, made.state[300:]).status_code == 204
    assert alice.hand_in(made.record).status_code == 202
    assert desk.check_next()
    assert alice.stage == "accepted"


def _kill_before(name: str) -> Callable[[Any, pytest.MonkeyPatch], None]:
    def prepare(owner: Any, patched: pytest.MonkeyPatch) -> None:
        def kill(*_: object, **__: object) -> None:
            raise Killed

        patched.setattr(owner, name, kill)

    return prepare


def _kill_after(name: str) -> Callable[[Any, pytest.MonkeyPatch], None]:
    def prepare(owner: Any, patched: pytest.MonkeyPatch) -> None:
        whole = getattr(owner, name)

        def kill(*args: object, **options: object) -> None:
            whole(*args, **options)
            raise Killed

        patched.setattr(owner, name, kill)

    return prepare


@pytest.mark.parametrize(
    ("owner", "prepare"),
    [
        (desks, _kill_before("require_next")),
        (desks, _kill_after("require_next")),
        (desks, _kill_before("move_whole")),
        (desks, _kill_after("move_whole")),
        (CeremonyFolder, _kill_before("advance")),
        (CeremonyFolder, _kill_after("advance")),
        (journals.Journal, _kill_before("save")),
        (journals.Journal, _kill_after("save")),
        (journals.Journal, _kill_before("drop_upload")),
    ],
)
def test_killed_in_the_middle_of_accepting(
    http: TestClient,
    desk: Desk,
    folder: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    prepare: Callable[[Any, pytest.MonkeyPatch], None],
) -> None:
    """Accepted once, whatever was done of it, and the next one goes on behind it."""
    alice, bob = Guest.join(http, "alice"), Guest.join(http, "bob")
    made = make(folder, 1, "alice")
    alice.contribute(made)
    with monkeypatch.context() as patched:
        prepare(owner, patched)
        with pytest.raises(Killed):
            desk.check_next()
    CeremonyFolder.load(folder)  # holds at any moment
    again, http = reopen(folder, clock)
    alice.http = bob.http = http
    while again.check_next():
        pass
    assert (alice.stage, alice.see()["detail"]) == ("accepted", made.place)
    assert bob.stage == "working"
    assert CeremonyFolder.load(folder).transcript.place.hex() == made.place
    assert not list((folder / "queue").glob("upload-*"))


def test_accepted_and_somebody_contributed_by_file_before_the_next_start(
    http: TestClient, desk: Desk, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted is told so: a contributor must not contribute twice."""
    alice = Guest.join(http, "alice")
    made = make(folder, 1, "alice")
    alice.contribute(made)
    with monkeypatch.context() as patched:
        _kill_after("advance")(CeremonyFolder, patched)
        with pytest.raises(Killed):
            desk.check_next()
    later = make(folder, 2, "bob")
    (folder / "state-2.key").write_bytes(later.state)
    CeremonyFolder.load(folder).advance(later.transcript)
    again, alice.http = reopen(folder, clock)
    assert (alice.stage, alice.see()["detail"]) == ("accepted", made.place)
    assert not again.check_next()


def test_a_copy_is_refused_after_a_restart_too(
    http: TestClient, desk: Desk, folder: Path, clock: Clock
) -> None:
    """The transcript ends in this very contribution, and not because of this ticket."""
    made = make(folder, 1)
    Guest.join(http).contribute(made)
    assert desk.check_next()
    thief = Guest.join(http)
    thief.contribute(made)
    again, thief.http = reopen(folder, clock)
    assert thief.stage == "checking"
    assert again.check_next()
    assert thief.stage == "refused"


def test_an_upload_that_is_gone_begins_anew(http: TestClient, folder: Path, clock: Clock) -> None:
    alice = Guest.join(http)
    alice.contribute(make(folder, 1))
    for path in (folder / "queue").glob("upload-*"):
        path.unlink()
    again, alice.http = reopen(folder, clock)
    assert not again.check_next()
    assert (alice.stage, alice.see()["offset"]) == ("working", 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"version": 2, "tickets": [], "spans": []}',
        b'{"version": 1, "tickets": [{}], "spans": []}',
        b'{"version": 1, "tickets": [{"id": "../x"}], "spans": []}',
        b'{"version": 1, "tickets": 3, "spans": []}',
        b"[" * 100_000,
    ],
)
def test_a_queue_that_is_none_is_named(folder: Path, clock: Clock, raw: bytes) -> None:
    (folder / "queue").mkdir()
    (folder / "queue" / "queue.json").write_bytes(raw)
    with pytest.raises(FormatError, match="delete it"):
        open_desk(folder, clock)


def test_a_queue_of_strangers_leads_nowhere_by_links(
    http: TestClient, folder: Path, clock: Clock, tmp_path: Path
) -> None:
    """A folder that somebody handed on, with a ticket and a link in the place of its record."""
    alice = Guest.join(http)
    queue, other = folder / "queue", tmp_path / "other"
    other.write_bytes(b"mine")
    for name in (f"upload-{alice.id}.record", "queue.json"):
        path = queue / name
        path.unlink(missing_ok=True)
        path.symlink_to(other)
        with pytest.raises(FormatError, match="is a link"):
            open_desk(folder, clock)
        path.unlink()
    queue.rename(tmp_path / "queue")
    queue.symlink_to(tmp_path / "queue")
    with pytest.raises(FormatError, match="is a link"):
        open_desk(folder, clock)
    assert other.read_bytes() == b"mine"


def test_a_fault_that_nobody_meant_ends_the_turn_alone(
    http: TestClient, desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is told but its type."""
    alice = Guest.join(http)
    alice.contribute(make(folder, 1))

    def fail(*_: object) -> None:
        raise KeyError("secret")

    with monkeypatch.context() as patched:
        patched.setattr(desks, "require_next", fail)
        assert desk.check_next()
    assert (alice.stage, "secret" in alice.see()["detail"]) == ("refused", False)
    bob = Guest.join(http)
    bob.contribute(make(folder, 1))
    assert desk.check_next()
    assert bob.stage == "accepted"


def test_a_full_disk_is_told_and_the_upload_goes_on(
    http: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = Guest.join(http)
    made = make(folder, 1)

    def fail(_: int) -> None:
        raise OSError(28, os.strerror(28), "/secret/place")

    with monkeypatch.context() as patched:
        patched.setattr(journals.os, "fsync", fail)
        answer = alice.patch(0, made.state[:100])
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert "disk is full" in answer.json()["detail"]
    offset = int(alice.head().headers["Upload-Offset"])
    assert alice.patch(offset, made.state[offset:]).status_code == 204
    with monkeypatch.context() as patched:
        patched.setattr(journals.Journal, "save", lambda *_: fail(0))
        assert alice.hand_in(made.record).status_code == 503
    assert alice.hand_in(made.record).status_code == 202
    assert http.app.state.hall.desk.check_next()
    assert alice.stage == "accepted"


@pytest.mark.parametrize(("owner", "name"), [(desks, "move_whole"), (CeremonyFolder, "advance")])
def test_a_disk_that_is_full_just_then_costs_nobody_a_contribution(
    http: TestClient,
    desk: Desk,
    folder: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
) -> None:
    """It holds: the desk ends, and the next one accepts it."""
    alice = Guest.join(http)
    made = make(folder, 1)
    alice.contribute(made)

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(OSError, match="No space"):
            desk.check_next()
    assert alice.stage == "checking"
    again, alice.http = reopen(folder, clock)
    assert again.check_next()
    assert (alice.stage, alice.see()["detail"]) == ("accepted", made.place)


def run_checks(desk: Desk, server: object) -> None:
    """Until the thread that checks ends."""
    with checking(desk, server):  # type: ignore[arg-type]
        next(one for one in enumerate_threads() if one.name == "checks").join(60)


def test_a_desk_that_cannot_go_on_ends_the_server(
    http: TestClient, desk: Desk, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had accepted is so when it is there again."""
    alice = Guest.join(http)
    made = make(folder, 1)
    alice.contribute(made)

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    server = SimpleNamespace(should_exit=False)
    with monkeypatch.context() as patched:
        patched.setattr(journals.Journal, "save", fail)
        with pytest.raises(OSError, match="No space"):
            run_checks(desk, server)
    assert server.should_exit
    _, alice.http = reopen(folder, clock)
    assert alice.see()["detail"] == made.place


def test_a_folder_is_of_one_process(folder: Path) -> None:
    with holding(folder), pytest.raises(FolderBusy, match="another process"), holding(folder):
        pass
    with holding(folder):
        pass
