"""Waiting for a job: over broken connections for a while, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest

from api.client.http import PATIENCE_S, Client
from api.errors import ServiceGone

JOB = "0" * 32
RUNNING = b'id: 1-0\nevent: progress\ndata: {"stage": "prove"}\n\n'
END = b'id: 2-0\nevent: end\ndata: {"state": "done"}\n\n'
RECORD = {
    "id": JOB,
    "kind": "groth16",
    "state": "done",
    "priority": "normal",
    "created_at": 1.0,
    "attempts": 1,
}
Answer = Callable[[httpx2.Request], httpx2.Response]


class Time:
    """Passes when somebody sleeps."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def make_client(answer: Answer, time: Time) -> Client:
    http = httpx2.Client(base_url="http://service", transport=httpx2.MockTransport(answer))
    return Client(http, sleep=time.sleep, clock=time.clock)


def refuse_connection(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("connection refused", request=request)


@pytest.mark.parametrize("options", [{"patience_s": 0.0}, {"patience_s": 10.0}, {}])
def test_a_service_that_is_gone_is_named(time: Time, options: dict[str, float]) -> None:
    client = make_client(refuse_connection, time)
    with pytest.raises(ServiceGone, match="has not answered for") as gone:
        client.wait(JOB, **options)
    bound = options.get("patience_s", PATIENCE_S)
    assert bound < time.now <= bound + 1
    assert isinstance(gone.value.__cause__, httpx2.ConnectError)


def test_a_service_that_comes_again_in_time_is_followed_to_the_end(time: Time) -> None:
    """Silence counts from the last answer, not from the first question."""
    seen: list[str] = []

    def answers() -> Iterator[httpx2.Response | None]:
        for _ in range(5):
            yield from [None] * 15
            yield httpx2.Response(200, content=RUNNING)
        yield httpx2.Response(200, content=END)
        yield httpx2.Response(200, json=RECORD)

    script = answers()

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("Last-Event-ID", ""))
        found = next(script)
        return refuse_connection(request) if found is None else found

    assert make_client(answer, time).wait(JOB, patience_s=10.0).state == "done"
    assert time.now > 30
    assert seen[16] == "1-0"  # resumes behind what it has


def test_a_stream_without_events_is_an_answer(time: Time) -> None:
    """A job may wait for long: the server ends its streams after minutes."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        if time.now > 10 * PATIENCE_S:
            return httpx2.Response(200, content=END)
        time.sleep(PATIENCE_S)
        return httpx2.Response(200, content=b": ping\n\n")

    events = list(make_client(answer, time).follow(JOB))
    assert [event.type for event in events] == ["end"]
