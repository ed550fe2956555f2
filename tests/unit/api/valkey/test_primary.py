"""Failover, with real servers: a name that is moved from one to another, and roles that change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ReadOnlyError

from api.assembly import build_service
from api.http.problems import ApiProblem
from api.queue.queue import JobQueue
from api.settings import Settings
from api.valkey import primary
from api.valkey.embedded import EmbeddedServer
from api.valkey.primary import NoPrimary, open_client
from tests.support.queue_server import make_spec, running_server

PATIENCE_S = 60.0
NOWHERE = ("127.0.0.1", "1")


@dataclass
class Pair:
    """Two servers, of which a name stands for one."""

    name: Path
    first: EmbeddedServer
    second: EmbeddedServer

    @property
    def url(self) -> str:
        return f"unix://{self.name}"

    def move(self, server: EmbeddedServer) -> None:
        self.name.unlink(missing_ok=True)
        self.name.symlink_to(server.socket)


def ask(server: EmbeddedServer, *command: str) -> Any:
    """A command to that very server, whatever its role."""
    with Redis(unix_socket_path=str(server.socket), protocol=2) as redis:
        return redis.execute_command(*command)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(primary, "LAST_PAUSE_S", 0.01)
    with running_server(tmp_path / "a") as first, running_server(tmp_path / "b") as second:
        made = Pair(tmp_path / "name", first, second)
        made.move(first)
        yield made


@pytest.fixture
def client(pair: Pair) -> Iterator[Redis]:
    with open_client(pair.url) as redis:
        yield redis


def test_a_write_goes_to_the_new_primary(pair: Pair, client: Redis) -> None:
    """And so does all else: no connection to the old one is used again."""
    held = [client.connection_pool.get_connection() for _ in range(4)]
    for connection in held:
        client.connection_pool.release(connection)
    client.set("where", "first")
    ask(pair.second, "SET", "where", "second")
    ask(pair.first, "REPLICAOF", *NOWHERE)
    pair.move(pair.second)
    client.set("new", "1")
    assert ask(pair.second, "GET", "new") == b"1"
    held = [client.connection_pool.get_connection() for _ in range(4)]
    for connection in held:
        connection.send_command("GET", "where")
        assert connection.read_response() == b"second"
        client.connection_pool.release(connection)


def test_a_transaction_goes_to_the_new_primary(pair: Pair, client: Redis) -> None:
    client.set("old", "1")
    ask(pair.first, "REPLICAOF", *NOWHERE)
    pair.move(pair.second)
    with client.pipeline() as pipe:
        pipe.incr("n")
        pipe.incr("n")
        assert pipe.execute() == [1, 2]


def test_a_server_that_is_a_replica_for_a_while_is_used_again(pair: Pair, client: Redis) -> None:
    client.set("key", "1")
    ask(pair.first, "REPLICAOF", *NOWHERE)
    with pytest.raises(NoPrimary, match="takes no writes"):
        client.set("key", "2")
    assert issubclass(NoPrimary, ConnectionError)  # as if it were down, for all who call
    ask(pair.first, "REPLICAOF", "NO", "ONE")
    client.set("key", "3")
    assert client.get("key") == b"3"


def test_who_waits_at_the_old_primary_waits_at_the_new_one(pair: Pair, client: Redis) -> None:
    found: list[object] = []

    def wait() -> None:
        found.extend(client.xread({"stream": "0-0"}, block=10_000) or [])

    waiting = Thread(target=wait, daemon=True)
    waiting.start()
    while not ask(pair.first, "INFO", "clients")["blocked_clients"]:
        pass
    ask(pair.second, "XADD", "stream", "*", "field", "value")
    pair.move(pair.second)
    ask(pair.first, "REPLICAOF", *NOWHERE)
    waiting.join(PATIENCE_S)
    assert len(found) == 1


def test_a_queue_goes_on_at_the_new_primary(pair: Pair, client: Redis, tmp_path: Path) -> None:
    """Its scripts, which that server has never seen, included."""
    queue = JobQueue(client, Settings(data_dir=tmp_path))
    queue.submit(make_spec(1))
    ask(pair.first, "REPLICAOF", *NOWHERE)
    pair.move(pair.second)
    queue.submit(make_spec(2))
    lease = queue.lease("worker")
    assert lease is not None
    assert lease.spec == make_spec(2)


def test_a_service_whose_server_is_a_replica_is_not_ready(
    pair: Pair, client: Redis, tmp_path: Path
) -> None:
    service = build_service(client, Settings(data_dir=tmp_path))
    service.ping()
    ask(pair.first, "REPLICAOF", *NOWHERE)
    assert client.ping()  # which says nothing of the role
    with pytest.raises(ApiProblem) as refused:
        service.ping()
    assert refused.value.code == "unavailable"
    ask(pair.first, "REPLICAOF", "NO", "ONE")
    service.ping()


def test_other_errors_are_the_caller_s(client: Redis) -> None:
    client.set("text", "x")
    with pytest.raises(Exception, match="wrong kind of value") as error:
        client.xread({"text": "0-0"})
    assert not isinstance(error.value, ReadOnlyError | ConnectionError)
