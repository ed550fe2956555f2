"""`zkpot ceremony contribute URL` from within: waits, and goes on after cuts."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.ceremony import contributing
from api.ceremony.remote import CeremonyServer
from api.client.http import PATIENCE_S, ServiceRefused
from api.console.ceremony.folder import CeremonyFolder
from api.errors import ServiceGone, TurnLost
from tests.support.contributors import Scene, keep, places
from tests.support.served_ceremonies import Clock, Guest, ask, make, open_desk


def test_a_contribution_from_afar(scene: Scene, folder: Path) -> None:
    place = scene.run()
    assert places(scene) == [place]
    assert f"place 1, behind your contribution: {place}" in scene.said
    assert scene.run("bob") == places(scene)[1]
    assert CeremonyFolder.load(folder).transcript.contributions[1].change.label == "bob"
    left = sorted(path.name for path in scene.work.glob("*.key"))
    assert left == ["first.key", "state-1.key", "state-2.key"]
    assert not (scene.work / "ticket.json").exists()


def test_who_waits_is_told_how_many_are_before(scene: Scene, folder: Path) -> None:
    alice = Guest.join(scene.http)
    made = make(folder, 1)

    def before(request: httpx2.Request) -> None:
        if len(scene.said) == 1 and request.method == "GET":
            scene.wire.before = lambda request: None
            alice.contribute(made)

    scene.wire.before = before
    place = scene.run("bob")
    assert places(scene) == [made.place, place]
    assert scene.said[0].startswith("1 before you")
    assert scene.said[1] == "it is your turn"


def test_connections_that_break_all_the_time(scene: Scene) -> None:
    """Before the server heard, and after it did: an answer is lost, a chunk sent twice."""
    calls = 0

    def before(request: httpx2.Request) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise httpx2.ConnectError("cut", request=request)

    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        if calls % 4 == 0 and request.url.path != "/v1/ceremony/tickets":
            raise httpx2.ReadError("cut", request=request)
        return answer

    scene.wire.before, scene.wire.change = before, change
    place = scene.run()
    scene.wire.before, scene.wire.change = lambda request: None, keep
    assert places(scene) == [place]
    assert calls > 20


def test_a_download_that_breaks_in_the_middle_of_a_piece(scene: Scene) -> None:
    asked: list[str] = []

    class Half(httpx2.SyncByteStream):
        def __init__(self, raw: bytes) -> None:
            self._raw = raw

        def __iter__(self) -> Iterator[bytes]:
            yield self._raw[: len(self._raw) // 2]
            raise httpx2.ReadError("cut")

    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        if "first.key" not in request.url.path:
            return answer
        asked.append(request.headers["Range"])
        if len(asked) > 3:
            return answer
        return httpx2.Response(206, headers=answer.headers, stream=Half(answer.read()))

    scene.wire.change = change
    assert scene.run() in places(scene)
    starts = [int(text.removeprefix("bytes=").partition("-")[0]) for text in asked]
    assert starts == sorted(set(starts))


def test_a_server_that_starts_again_meanwhile(scene: Scene, folder: Path) -> None:
    """The place, and what was uploaded, are there again."""
    uploads = 0

    def before(request: httpx2.Request) -> None:
        nonlocal uploads
        uploads += request.method == "PATCH"
        if uploads == 2 and request.method == "PATCH":
            scene.desk = open_desk(folder, scene.clock, seed=3)
            scene.wire._inner = ask(scene.desk)._transport
            raise httpx2.ConnectError("restarting", request=request)

    scene.wire.before = before
    assert scene.run() in places(scene)
    sizes = CeremonyFolder.load(folder).last.path.stat().st_size
    assert uploads == 1 + -(-sizes // (1 << 15))  # no chunk but the one that was cut comes twice


def test_what_the_server_lost_is_sent_again(
    scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same turn, and not computed again."""
    n_handed_in, computed = 0, count_computed(monkeypatch)

    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        nonlocal n_handed_in
        if request.url.path.endswith("/contribution"):
            n_handed_in += 1
            if n_handed_in == 1:
                next((folder / "queue").glob("*.part")).unlink()
                scene.desk = open_desk(folder, scene.clock, seed=3)
                scene.wire._inner = ask(scene.desk)._transport
        return answer

    scene.wire.change = change
    place = scene.run()
    assert places(scene) == [place]
    assert (n_handed_in, len(computed)) == (2, 1)


def test_a_server_that_always_loses_it_is_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.desk, "hand_in", lambda ticket_id, record: scene.desk.see(ticket_id))
    with pytest.raises(TurnLost, match="the ticket is working"):
        scene.run()
    assert scene.http.get("/v1/ceremony").json()["at_work"] is None  # nobody waits for it


def count_computed(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each contribution that is computed."""
    computed, go_on = list[None](), contributing.go_on

    def count(*args: Any, **options: Any) -> Any:
        computed.append(None)
        return go_on(*args, **options)

    monkeypatch.setattr(contributing, "go_on", count)
    return computed


def test_a_command_that_was_killed_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its ticket, its files, and what it computed: shares are drawn once."""
    computed = count_computed(monkeypatch)

    def cut(request: httpx2.Request) -> None:
        if request.method == "PATCH" and request.headers["Upload-Offset"] != "0":
            raise httpx2.ConnectError("cut", request=request)

    scene.wire.before = cut
    alone = Clock()
    server = CeremonyServer(scene.http, sleep=lambda s: _pass(alone, s), clock=alone)
    with monkeypatch.context() as patched:
        patched.setattr(scene, "make_server", lambda: server)
        with pytest.raises(ServiceGone, match="run the command again"):
            scene.run()
    assert alone.now > 1000 + PATIENCE_S
    ticket = scene.work / "ticket.json"
    assert stat.S_IMODE(ticket.stat().st_mode) == 0o600
    scene.wire.before = lambda request: None
    place = scene.run()
    assert (len(computed), places(scene)) == (1, [place])
    assert not ticket.exists()


def _pass(clock: Clock, seconds: float) -> None:
    clock.now += seconds


def test_who_gives_up_leaves_the_queue(scene: Scene) -> None:
    Guest.join(scene.http)
    held = scene.sleep

    def interrupt(seconds: float) -> None:
        held(seconds)
        raise KeyboardInterrupt

    scene.sleep = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        scene.run()
    assert scene.http.get("/v1/ceremony").json()["n_waiting"] == 0


def test_a_folder_with_other_things_is_left_alone(scene: Scene, folder: Path) -> None:
    """That of a ceremony, whose states would go."""
    before = sorted(folder.rglob("*"))
    scene.work = folder
    with pytest.raises(FileExistsError, match="Holds other files"):
        scene.run()
    assert sorted(folder.rglob("*")) == before


def test_what_is_left_of_another_file_is_not_gone_on_with(scene: Scene) -> None:
    """Of another ceremony at this address, or of a disk that failed; and of a process killed."""
    place = scene.run()
    sizes = {name: (scene.work / name).stat().st_size for name in ("first.key", "state-1.key")}
    for name, size in sizes.items():
        (scene.work / name).unlink()
        (scene.work / f"{name}.part").write_bytes(bytes(size if name == "first.key" else 100))
    left = [scene.work / name for name in (".99-0.partial", "state-7.key", "state-7.key.part")]
    for path in left:
        path.write_bytes(b"x")
    assert [place, scene.run("bob")] == places(scene)
    assert not any(path.exists() for path in left)
    assert not list(scene.work.glob("*.part"))


def test_a_folder_that_others_may_change_is_not_taken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who puts a contribution of their own there would have it handed in under this name."""
    scene.work.mkdir()
    (scene.work / "contributor").touch()
    scene.work.chmod(0o777)
    with pytest.raises(PermissionError, match="Others can write there"):
        scene.run()
    scene.work.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr(contributing.os, "getuid", lambda: -1)
        with pytest.raises(PermissionError, match="Others can write there"):
            scene.run()
    assert places(scene) == []


def test_a_turn_that_is_lost_is_told(scene: Scene) -> None:
    def before(request: httpx2.Request) -> None:
        if request.method == "PATCH":
            scene.clock.now += 1000

    scene.wire.before = before
    with pytest.raises(ServiceRefused, match="the ticket is late; join the queue again"):
        scene.run()
    scene.wire.before = lambda request: None
    assert scene.run() in places(scene)


def test_a_refusal_is_told_with_its_reason(scene: Scene) -> None:
    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        if request.url.path.endswith("/contribution"):
            part = next((scene.desk._folder / "queue").glob("*.record"))
            part.write_bytes(b"rotten")
        return answer

    scene.wire.change = change
    with pytest.raises(TurnLost, match="the ticket is refused: field_invalid"):
        scene.run()
