"""`zkpot ceremony contribute URL` with servers that lie: none is believed, none obeyed for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.ceremony.contributing import fetch_ceremony
from api.client.http import PATIENCE_S, ServiceRefused
from api.console.ceremony.folder import CeremonyFolder
from api.errors import ServiceGone, TurnLost
from prover.errors import CeremonyInvalid, FormatError
from tests.support.contributors import Scene, lie, reply
from tests.support.served_ceremonies import Guest, ask, make, open_desk


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"files": []}, "has no circuit.json"),
        ({"files": [{"name": "../x", "n_bytes": 1, "sha256": "0" * 64}]}, "has no circuit.json"),
        ({"files": [{"name": "circuit.json", "n_bytes": 9, "sha256": "0" * 64}]}, "server"),
        ({"contributions": [{"name": "\u001b[2J", "place": "0" * 64}]}, "none of a ceremony"),
        ({"wait_s": float("inf")}, "none of a ceremony"),
        ({"more": 1}, "none of a ceremony"),
    ],
)
def test_a_view_that_is_none(scene: Scene, change: dict[str, Any], why: str) -> None:
    def send(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        if request.url.path != "/v1/ceremony":
            return answer
        raw = json.dumps(json.loads(answer.read()) | change)
        return reply(200, raw.encode())

    scene.wire.change = send
    with pytest.raises(FormatError, match=why):
        scene.run()
    assert not list(scene.work.parent.glob("x*"))


def test_a_file_that_fills_no_disk(scene: Scene) -> None:
    huge = [{"name": "circuit.json", "n_bytes": 1 << 60, "sha256": "0" * 64}]
    lie(scene, "/ceremony", lambda found: found | {"files": huge})
    with pytest.raises(OSError, match="No space left"):
        scene.run()


def test_an_endless_answer_is_cut(scene: Scene) -> None:
    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        return reply(200, b" " * (5 << 20))

    scene.wire.change = change
    with pytest.raises(FormatError, match="too long"):
        scene.run()


def test_a_server_that_sends_nothing_is_not_asked_for_ever(scene: Scene) -> None:
    asked = 0

    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        nonlocal asked
        if "first.key" not in request.url.path:
            return answer
        asked += 1
        assert asked < 1000
        return reply(206, b"", answer.headers["Content-Range"])

    scene.wire.change = change
    with pytest.raises(ServiceGone):
        scene.run()
    assert scene.clock.now > 1000 + PATIENCE_S


def test_a_refusal_reaches_no_terminal_but_as_text(scene: Scene) -> None:
    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        problem = {"type": "", "title": "\x1b]0;owned\x07", "status": 400, "code": "\x9b2J"}
        raw = json.dumps(problem | {"next_step": "\u202e" + "x" * 9000}).encode()
        headers = [(b"Retry-After", b"\xb2")]
        return httpx2.Response(400, headers=headers, stream=httpx2.ByteStream(raw))

    scene.wire.change = change
    with pytest.raises(ServiceRefused) as caught:
        scene.run()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000


def test_a_file_longer_than_it_says_is_cut(scene: Scene) -> None:
    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        if "circuit.json" not in request.url.path:
            return answer
        raw = answer.read() + bytes(100)
        return reply(206, raw, answer.headers["Content-Range"])

    scene.wire.change = change
    with pytest.raises(FormatError, match="longer than the server says"):
        scene.run()


def test_a_ceremony_that_does_not_hold_gets_no_contribution(scene: Scene, folder: Path) -> None:
    """The contributor verifies for itself: a server that hands out another state learns nothing."""
    guest = Guest.join(scene.http)
    guest.contribute(make(folder, 1))
    assert scene.desk.check_next()
    transcript = CeremonyFolder.load(folder).transcript
    raw = bytearray(transcript.encode())
    at = raw.rindex(transcript.contributions[0].responses.data.tobytes()[:8])
    raw[at] ^= 1
    (folder / "ceremony.transcript").write_bytes(raw)
    scene.desk = open_desk(folder, scene.clock)
    scene.wire._inner = ask(scene.desk)._transport
    with pytest.raises(CeremonyInvalid, match="contribution 1 does not prove"):
        scene.run()
    assert not (scene.work / "state-2.key").exists()
    assert scene.http.get("/v1/ceremony").json()["at_work"] is None  # it has left


def test_an_accepted_other_contribution_is_told(scene: Scene) -> None:
    def tell(found: Any) -> Any:
        return found | {"stage": "accepted", "detail": "0" * 64}

    lie(scene, "/contribution", tell)
    with pytest.raises(TurnLost, match="another contribution"):
        scene.run()


def test_a_server_that_is_gone(scene: Scene, tmp_path: Path) -> None:
    def before(request: httpx2.Request) -> None:
        raise httpx2.ConnectError("refused", request=request)

    scene.wire.before = before
    with pytest.raises(ServiceGone, match="has not answered for 11 s"):
        scene.run()
    with pytest.raises(ServiceGone):
        fetch_ceremony(scene.make_server(), tmp_path, lambda what, done, total: None)


def test_a_ceremony_that_goes_on_while_it_is_fetched(
    scene: Scene, folder: Path, tmp_path: Path
) -> None:
    """The state of the first view is gone when it is asked for."""
    Guest.join(scene.http).contribute(make(folder, 1))
    assert scene.desk.check_next()
    guest = Guest.join(scene.http)

    def before(request: httpx2.Request) -> None:
        if request.url.path.endswith("/state-1.key"):
            scene.wire.before = lambda request: None
            guest.contribute(make(folder, 2))
            assert scene.desk.check_next()

    scene.wire.before = before
    (goal := tmp_path / "copy").mkdir()
    fetch_ceremony(scene.make_server(), goal, lambda what, done, total: None)
    assert len(CeremonyFolder.load(goal).transcript.contributions) == 2
