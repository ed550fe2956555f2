"""A contributor whose server is in this process, by a wire of which tests make what they like."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from api.ceremony.contributing import Contributor, taking
from api.ceremony.desk import Desk
from api.ceremony.remote import CeremonyServer
from prover.ceremony.own.contribute import Origin
from tests.support.served_ceremonies import Clock
from tests.support.toy_protocol import BACKEND


class Wire(httpx2.BaseTransport):
    """The server's own transport, of which a test makes what it likes."""

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner = inner
        self.before: Callable[[httpx2.Request], None] = lambda request: None
        self.change: Callable[[httpx2.Request, httpx2.Response], httpx2.Response] = keep

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.before(request)
        return self.change(request, self._inner.handle_request(request))


def keep(_: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
    return answer


@dataclass
class Scene:
    """A desk, its HTTP, a contributor's folder; who sleeps lets the desk check, and time pass."""

    desk: Desk
    http: TestClient
    wire: Wire
    clock: Clock
    work: Path
    said: list[str]

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        self.desk.check_next()

    def make_server(self) -> CeremonyServer:
        return CeremonyServer(self.http, sleep=self.sleep, clock=self.clock)

    def run(self, name: str = "alice") -> str:
        """The place behind the contribution."""
        contributor = Contributor(
            self.make_server(),
            self.work,
            Origin(name=name),
            BACKEND,
            say=self.said.append,
            show_moved=_silent,
            show_computed=_silent,
        )
        with taking(self.work):
            return contributor.run().place.hex()


@contextmanager
def _silent() -> Iterator[Callable[[str, int, int], None]]:
    yield lambda what, done, total: None


def places(scene: Scene) -> list[str]:
    return [one["place"] for one in scene.http.get("/v1/ceremony").json()["contributions"]]


def reply(status: int, raw: bytes, content_range: str = "") -> httpx2.Response:
    """An answer that is still to be read."""
    headers = {"Content-Range": content_range}
    return httpx2.Response(status, headers=headers, stream=httpx2.ByteStream(raw))


def lie(scene: Scene, path: str, tell: Callable[[Any], Any]) -> None:
    """Changes the JSON of answers for a path's end."""

    def change(request: httpx2.Request, answer: httpx2.Response) -> httpx2.Response:
        if not request.url.path.endswith(path) or not answer.is_success:
            return answer
        return reply(answer.status_code, json.dumps(tell(json.loads(answer.read()))).encode())

    scene.wire.change = change
