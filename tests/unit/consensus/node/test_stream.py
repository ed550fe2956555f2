"""The transport on a real server: bounded, de-duplicated, read again when it was rewritten."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from api.settings import Settings
from api.valkey.embedded import connect, socket_path
from consensus.node import stream as module
from consensus.node.stream import (
    BLOBS,
    FINAL,
    MAX_MESSAGE_BYTES,
    STREAMS,
    TRANSACTIONS,
    VOTES,
    Incoming,
    Transport,
)
from tests.support.queue_server import running_server

CHAIN = bytes(range(32))
LAST_ID = "18446744073709551615-18446744073709551615"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stream")
    with running_server(folder):
        yield folder


@pytest.fixture
def redis(folder: Path) -> Iterator[Redis]:
    with connect(Settings(data_dir=folder)) as redis:
        redis.flushall()
        yield redis


def key_of(stream: str) -> str:
    return f"zkpot:chain:{CHAIN.hex()[:32]}:{stream}"


def read_all(transport: Transport) -> list[tuple[str, bytes]]:
    found: list[Incoming] = []
    while batch := transport.read(1):
        found += batch
    return [(incoming.stream, incoming.raw) for incoming in found]


def test_everyone_gets_everything_in_order(redis: Redis) -> None:
    sender, early = Transport(redis, CHAIN), Transport(redis, CHAIN)
    for i in range(600):  # more than one read takes
        sender.send(VOTES, b"%d" % i)
    sender.send(TRANSACTIONS, b"tx")
    late = Transport(redis, CHAIN)
    for reader in (sender, early, late):
        found = read_all(reader)
        assert [raw for stream, raw in found if stream == VOTES] == [b"%d" % i for i in range(600)]
        assert (TRANSACTIONS, b"tx") in found
        assert read_all(reader) == []


def test_chains_and_streams_are_apart(redis: Redis) -> None:
    sender, other = Transport(redis, CHAIN), Transport(redis, bytes(32))
    only_final = Transport(redis, CHAIN, (FINAL,))
    sender.send(VOTES, b"vote")
    sender.send(FINAL, b"block")
    assert read_all(other) == []
    assert read_all(only_final) == [(FINAL, b"block")]


def test_a_stream_is_read_from_its_end_while_it_is_listened_to(redis: Redis) -> None:
    """Parts of blobs are large, and only of use to who asked for one."""
    sender, reader = Transport(redis, CHAIN), Transport(redis, CHAIN)
    sender.send(BLOBS, b"for another")
    assert read_all(reader) == []
    reader.listen(BLOBS)
    sender.send(BLOBS, b"part")
    reader.listen(BLOBS)  # it is read already: nothing is skipped
    sender.send(BLOBS, b"part")
    assert read_all(reader) == [(BLOBS, b"part")] * 2
    reader.ignore(BLOBS)
    sender.send(BLOBS, b"late")
    assert read_all(reader) == []
    reader.ignore(BLOBS)


def test_votes_are_taken_again_transactions_and_blocks_once(redis: Redis) -> None:
    transport = Transport(redis, CHAIN)
    for name in STREAMS:
        for _ in range(3):
            transport.send(name, b"same")
    found = read_all(transport)
    counts = {name: found.count((name, b"same")) for name in STREAMS}
    assert counts == {VOTES: 3, TRANSACTIONS: 1, FINAL: 1}, "each stream by itself"
    transport.forget(b"same")
    transport.send(FINAL, b"same")
    assert read_all(transport) == [(FINAL, b"same")]
    transport.forget(b"never seen")


def test_what_was_seen_is_forgotten_in_the_end(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SEEN", 10)
    transport = Transport(redis, CHAIN)
    for i in range(25):
        transport.send(TRANSACTIONS, b"%d" % i)
    assert len(read_all(transport)) == 25
    assert len(transport._seen) == 10
    transport.send(TRANSACTIONS, b"24")
    transport.send(TRANSACTIONS, b"0")
    assert read_all(transport) == [(TRANSACTIONS, b"0")]


def test_streams_are_trimmed(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 100)
    transport = Transport(redis, CHAIN)
    for i in range(1000):
        transport.send(VOTES, b"%d" % i)
    assert redis.xlen(key_of(VOTES)) < 300, "in whole nodes of the server's tree"
    for _ in range(module.MAX_PARTS + 10):
        transport.send(BLOBS, bytes(5000))
    assert redis.xlen(key_of(BLOBS)) == module.MAX_PARTS, "a large entry is a node of its own"


def test_entries_of_another_shape_are_dropped(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 100)
    transport = Transport(redis, CHAIN)
    redis.xadd(key_of(VOTES), {"other": b"field"})
    redis.xadd(key_of(VOTES), {"m": bytes(101)})
    redis.xadd(key_of(VOTES), {"m": bytes(100), "more": b"x"})
    redis.xadd(key_of(VOTES), {"m": b""})
    assert read_all(transport) == [(VOTES, bytes(100)), (VOTES, b"")]
    assert transport.n_dropped == 2


def test_an_emptied_server_is_read_from_its_beginning(redis: Redis) -> None:
    transport = Transport(redis, CHAIN)
    assert not transport.mind_rewrites(), "nothing there, nothing read"
    transport.send(VOTES, b"old")
    read_all(transport)
    assert not transport.mind_rewrites()
    redis.flushall()
    assert transport.mind_rewrites()
    assert not transport.mind_rewrites()
    redis.xadd(key_of(VOTES), {"m": b"new"}, id="1-1")  # by a clock that is far behind
    assert read_all(transport) == [(VOTES, b"new")]


def test_a_rewritten_server_is_read_from_its_beginning(redis: Redis) -> None:
    transport = Transport(redis, CHAIN)
    transport.send(VOTES, b"old")
    read_all(transport)
    redis.delete(key_of(VOTES))
    for i in range(3):
        redis.xadd(key_of(VOTES), {"m": b"%d" % i}, id=f"5-{i}")
    assert read_all(transport) == []
    assert transport.mind_rewrites()
    assert read_all(transport) == [(VOTES, b"%d" % i) for i in range(3)]


def test_ids_that_an_attacker_used_up(redis: Redis) -> None:
    """After the greatest id a stream takes nothing: it is deleted, and read from its beginning."""
    sender, reader = Transport(redis, CHAIN), Transport(redis, CHAIN)
    redis.xadd(key_of(VOTES), {"m": b"last"}, id=LAST_ID)
    assert read_all(reader) == [(VOTES, b"last")]
    sender.send(VOTES, b"vote")
    reader.mind_rewrites()
    assert read_all(reader) == [(VOTES, b"vote")]


def test_keys_of_another_type_are_deleted(redis: Redis) -> None:
    transport = Transport(redis, CHAIN)
    for name in STREAMS:
        redis.set(key_of(name), "no stream")
    transport.send(VOTES, b"vote")
    with pytest.raises(ResponseError):
        transport.read(1)
    assert read_all(transport) == [(VOTES, b"vote")]
    redis.set(key_of(VOTES), "no stream")
    assert transport.mind_rewrites()
    transport.send(VOTES, b"again")
    assert read_all(transport) == [(VOTES, b"again")]


@contextmanager
def full(redis: Redis) -> Iterator[None]:
    """The server has no memory left: it refuses to write, and reads on."""
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


def test_a_server_that_is_full_loses_nothing(redis: Redis) -> None:
    """An error that says nothing of the key is no reason to delete what everybody has sent."""
    sender, reader = Transport(redis, CHAIN), Transport(redis, CHAIN)
    for name in STREAMS:
        sender.send(name, name.encode())
    with full(redis):
        for name in STREAMS:
            with pytest.raises(ResponseError, match="maxmemory"):
                sender.send(name, b"more")
        assert not sender.mind_rewrites()
        assert sorted(read_all(reader)) == sorted((name, name.encode()) for name in STREAMS)
    assert [redis.xlen(key_of(name)) for name in STREAMS] == [1, 1, 1]
    sender.send(VOTES, b"more")
    assert read_all(reader) == [(VOTES, b"more")]


def test_a_replica_keeps_what_it_has(redis: Redis, folder: Path) -> None:
    """A server that was told to follow another one refuses to write as well."""
    with Redis(unix_socket_path=str(socket_path(folder))) as plain:  # which tries but once
        transport = Transport(plain, CHAIN)
        transport.send(VOTES, b"vote")
        redis.replicaof("127.0.0.1", "1")
        try:
            with pytest.raises(ResponseError, match="read only replica"):
                transport.send(VOTES, b"more")
            assert not transport.mind_rewrites()
            assert read_all(transport) == [(VOTES, b"vote")]
        finally:
            redis.replicaof("NO", "ONE")
    assert redis.xlen(key_of(VOTES)) == 1


def test_ids_used_up_without_an_entry_that_shows_it(redis: Redis) -> None:
    sender, reader = Transport(redis, CHAIN), Transport(redis, CHAIN)
    sender.send(VOTES, b"first")
    redis.execute_command("XSETID", key_of(VOTES), LAST_ID)
    sender.send(VOTES, b"second")
    assert [raw for _, raw in read_all(reader)] == [b"second"]


# -- memory ----------------------------------------------------------------------------------------


def test_a_read_is_bounded_in_bytes(redis: Redis) -> None:
    """Three hundred entries of 2 MiB were half a gigabyte at a time; none is passed over."""
    sender, reader = Transport(redis, CHAIN), Transport(redis, CHAIN)
    sent = [b"%03d" % i + bytes(MAX_MESSAGE_BYTES - 3) for i in range(12)]
    for raw in sent:
        sender.send(VOTES, raw)
        sender.send(FINAL, raw)
    found: dict[str, list[bytes]] = {VOTES: [], FINAL: []}
    while batch := reader.read(1):
        for name in STREAMS:
            n_bytes = sum(len(x.raw) for x in batch if x.stream == name)
            assert n_bytes <= module.READ_BYTES, "so much of each stream"
        for incoming in batch:
            found[incoming.stream].append(incoming.raw)
    assert found == {VOTES: sent, FINAL: sent}


def test_what_is_too_large_never_comes_here(redis: Redis) -> None:
    """Its length is asked first: 64 MiB in a stream are no 64 MiB in a node."""
    transport = Transport(redis, CHAIN)
    redis.xadd(key_of(VOTES), {"m": bytes(1 << 26)})
    redis.xadd(key_of(VOTES), {"other": bytes(1 << 26), "m": b"small"})
    redis.xadd(key_of(VOTES), {"m": b"after"})
    tracemalloc.start()
    try:
        found = read_all(transport)
        transport.mind_rewrites()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == [(VOTES, b"small"), (VOTES, b"after")]
    assert transport.n_dropped == 1
    assert peak < 1 << 22


def test_a_server_that_refuses_is_an_error(redis: Redis, folder: Path) -> None:
    """Nothing to mend: whoever uses the transport waits."""
    redis.acl_setuser("reader", enabled=True, nopass=True, commands=["+ping"], keys=["*"])
    with connect(Settings(data_dir=folder)) as refused:
        refused.connection_pool.connection_kwargs |= {"username": "reader", "password": "x"}
        transport = Transport(refused, CHAIN)
        with pytest.raises(ResponseError):
            transport.send(VOTES, b"vote")
        with pytest.raises(ResponseError):
            transport.read(1)
    redis.acl_deluser("reader")
