"""Blobs over HTTP: from any peer, checked, bounded, and never waited for by who votes."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from threading import Event, Thread
from unittest.mock import Mock
from urllib.request import urlopen

import pytest
import structlog

from consensus.content import peers
from consensus.content.background import PAUSE_S, BackgroundBlobs, SeveralBlobs
from consensus.content.blobs import FileBlobs, KeptBlobs
from consensus.content.interface import CHUNK_BYTES, Blobs
from consensus.content.peers import BlobServer, PeerBlobs
from consensus.errors import BlobCorrupt, BlobMissing, PeerInvalid
from tests.support.memory_blobs import MemoryBlobs

LOG = structlog.wrap_logger(structlog.testing.CapturingLogger())
NOBODY = "http://127.0.0.1:9"
LARGE = bytes(range(256)) * (CHUNK_BYTES // 128) + b"end"


class Liar(MemoryBlobs):
    """Sends other bytes than it was asked for."""

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        found = super().read_part(digest, start, length)
        return None if found is None else (found[0], found[1][::-1])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


GENESIS = b'{"version":1}\n'


def serve(stack: ExitStack, store: Blobs) -> str:
    return stack.enter_context(BlobServer(store, genesis=GENESIS, host="127.0.0.1", port=0)).address


def test_what_any_peer_has_is_got(stack: ExitStack) -> None:
    stores = [MemoryBlobs(), MemoryBlobs()]
    blobs = PeerBlobs([NOBODY, *(serve(stack, store) for store in stores)])
    for store, raw in ((stores[0], b""), (stores[1], b"a blob"), (stores[0], LARGE)):
        assert blobs.get(store.put(raw)) == raw
    with pytest.raises(BlobMissing):
        blobs.get(bytes(32))
    with pytest.raises(BlobMissing):
        blobs.get(b"../../etc/passwd")


def test_a_peer_that_lies_is_passed_over(stack: ExitStack) -> None:
    liar, honest = Liar(), MemoryBlobs()
    digest = liar.put(b"a blob")
    addresses = [serve(stack, liar), serve(stack, honest)]
    with pytest.raises(BlobMissing):
        PeerBlobs(addresses).get(digest)
    honest.put(b"a blob")
    assert PeerBlobs(addresses).get(digest) == b"a blob"


def test_what_is_read_is_bounded(stack: ExitStack) -> None:
    store = MemoryBlobs()
    digest, address = store.put(LARGE), serve(stack, store)
    with pytest.raises(BlobMissing):
        PeerBlobs([address], get_limit=lambda digest: len(LARGE) - 1).get(digest)
    times = iter([0.0, 0.0, 100.0])
    late = PeerBlobs([address], deadline_s=50, clock=lambda: next(times, 100.0))
    with pytest.raises(BlobMissing):
        late.get(digest)
    assert PeerBlobs([address], get_limit=lambda digest: len(LARGE)).get(digest) == LARGE


HEADS = [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]


@pytest.mark.parametrize("head", HEADS)
def test_a_peer_that_dawdles_is_left_at_its_deadline(stack: ExitStack, head: bytes) -> None:
    """It never stands still, and never comes to the end of a line."""
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def dawdle() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(head)
            while True:
                connection.sendall(b"1")

    dawdling = Thread(target=dawdle, daemon=True)
    dawdling.start()
    ticks = count()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    late = PeerBlobs([address], deadline_s=4, clock=lambda: float(next(ticks)))
    with pytest.raises(BlobMissing):
        late.get(bytes(32))
    assert next(ticks) == 6  # the first look, four in time, and the one that was too late
    dawdling.join()


@pytest.mark.parametrize(
    ("times", "n_bytes"),
    [
        ([0.0, peers.STILL_S + 1], 0),  # its head has come, but late
        ([0.0, 0.0, 0.0, peers.DEADLINE_S + 1], 0),
        ([0.0, 0.0, 0.0, 0.0, peers.DEADLINE_S + 1], CHUNK_BYTES),
    ],
)
def test_who_asks_or_reads_too_slowly_is_left(
    stack: ExitStack, times: list[float], n_bytes: int
) -> None:
    """However steadily the bytes come: places are few."""
    store, steps = MemoryBlobs(), iter(times)
    digest = store.put(LARGE)
    server = BlobServer(
        store, genesis=b"", host="127.0.0.1", port=0, clock=lambda: next(steps, times[-1])
    )
    host, _, port = stack.enter_context(server).address.removeprefix("http://").partition(":")
    asking = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
    asking.sendall(f"GET /blobs/{digest.hex()} HTTP/1.0\r\n\r\n".encode())
    with asking.makefile("rb") as file:
        body = file.read().partition(b"\r\n\r\n")[2]
    assert len(body) == n_bytes


@pytest.mark.parametrize("path", ["/", "/blobs/", "/blobs/../x", "/blobs/" + "A" * 64, "/metrics"])
def test_nothing_but_blobs_is_served(stack: ExitStack, path: str) -> None:
    host, _, port = serve(stack, MemoryBlobs()).removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    stack.callback(connection.close)
    connection.request("GET", path)
    assert connection.getresponse().status == 404


def test_so_many_are_served_at_a_time(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who say nothing hold their places, and no more than these."""
    monkeypatch.setattr(peers, "MAX_SERVED", 1)
    store = MemoryBlobs()
    digest, address = store.put(b"a blob"), serve(stack, store)
    host, _, port = address.removeprefix("http://").partition(":")
    silent = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
    silent.sendall(b"GET /blobs/")
    with pytest.raises(BlobMissing):
        PeerBlobs([address]).get(digest)


def test_a_place_comes_back_when_the_system_gives_no_thread(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_SERVED", 1)
    store = MemoryBlobs()
    digest, blobs = store.put(b"a blob"), PeerBlobs([serve(stack, store)])
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        with pytest.raises(BlobMissing):
            blobs.get(digest)
    assert blobs.get(digest) == b"a blob"


@pytest.mark.parametrize(
    "url",
    [
        *("", "node-1:80", "ftp://x", "http://", "http://x/y", "http://u@x", "http://x:99999"),
        *("http://node..1:80", f"http://{64 * 'a'}"),
    ],
)
def test_a_peer_needs_an_address(url: str) -> None:
    with pytest.raises(PeerInvalid, match="http://HOST:PORT"):
        PeerBlobs([url])
    with pytest.raises(PeerInvalid, match="at most"):
        PeerBlobs(65 * ["http://x"])


class Slow(MemoryBlobs):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may, self.n_asked = Event(), 0

    def get(self, digest: bytes) -> bytes:
        self.n_asked += 1
        assert self.may.wait(60)
        return super().get(digest)


def test_who_votes_does_not_wait(tmp_path: Path) -> None:
    place, own, now = Slow(), FileBlobs(tmp_path), [0.0]
    digest = place.put(b"a blob")
    background = BackgroundBlobs(place, own, log=LOG, clock=lambda: now[0])
    kept = KeptBlobs(own, SeveralBlobs([background]))
    for _ in range(3):
        with pytest.raises(BlobMissing):
            kept.get(digest)
    place.may.set()
    background.wait()
    assert kept.get(digest) == b"a blob"
    assert place.n_asked == 1
    for n_asked in (2, 3):  # what it has not is asked for again, after a while
        for _ in range(3):
            with pytest.raises(BlobMissing):
                kept.get(bytes(32))
        background.wait()
        assert place.n_asked == n_asked
        now[0] += PAUSE_S


def test_what_is_put_and_let_go_is_so_in_every_place(tmp_path: Path) -> None:
    folder, place, own = MemoryBlobs(), MemoryBlobs(), FileBlobs(tmp_path)
    background = BackgroundBlobs(place, own, log=LOG)
    kept = KeptBlobs(own, SeveralBlobs([folder, background]))
    digest = kept.put(b"a blob")
    background.wait()
    assert folder.get(digest) == place.get(digest) == b"a blob"
    kept.discard(digest)
    background.wait()
    for store in (own, folder, place):
        with pytest.raises(BlobMissing):
            store.get(digest)


def test_an_error_that_nobody_foresaw_is_said_and_the_next_blob_comes(tmp_path: Path) -> None:
    class Faulty(MemoryBlobs):
        may = Event()

        def get(self, digest: bytes) -> bytes:
            assert self.may.wait(60)
            if digest == bytes(32):
                raise KeyError("a secret")
            return super().get(digest)

    place, own, said = Faulty(), FileBlobs(tmp_path), structlog.testing.LogCapture()
    log = structlog.wrap_logger(None, processors=[said])
    background = BackgroundBlobs(place, own, log=log)
    digest = place.put(b"a blob")
    for wanted in (bytes(32), digest):
        with pytest.raises(BlobMissing):
            background.get(wanted)
    place.may.set()
    background.wait()
    assert own.get(digest) == b"a blob"
    expected = {"event": "a blob was given up", "error": "KeyError", "log_level": "error"}
    assert said.entries == [expected]


class Broken(MemoryBlobs):
    def get(self, digest: bytes) -> bytes:
        raise OSError("gone")


def test_places_are_asked_in_order() -> None:
    second = MemoryBlobs()
    digest = second.put(b"x")

    class Corrupt(MemoryBlobs):
        def get(self, digest: bytes) -> bytes:
            raise BlobCorrupt(digest)

    assert SeveralBlobs([Broken(), Corrupt(), second]).get(digest) == b"x"
    assert SeveralBlobs([Broken(), second]).read_part(digest, 0, 1) == (1, b"x")
    with pytest.raises(BlobCorrupt):
        SeveralBlobs([Corrupt(), Broken()]).get(digest)


def test_the_genesis_is_served_beside_the_blobs(stack: ExitStack) -> None:
    with urlopen(serve(stack, MemoryBlobs()) + "/genesis.json") as answer:
        assert answer.read() == GENESIS
        assert answer.headers["Content-Type"] == "application/json"


def test_a_node_takes_what_it_looks_for_and_nothing_else(stack: ExitStack) -> None:
    store, limit = MemoryBlobs(), len(LARGE)
    server = stack.enter_context(
        BlobServer(store, genesis=GENESIS, host="127.0.0.1", port=0, get_limit=lambda digest: limit)
    )
    client = PeerBlobs([NOBODY, server.address])
    digest, longer = hashlib.sha256(LARGE).digest(), LARGE + b"more"
    assert client.offer(LARGE) == 0
    server.want(frozenset({digest, hashlib.sha256(longer).digest()}))
    assert client.offer(longer) == 0
    assert store.read_part(digest, 0, 1) is None
    assert client.offer(LARGE) == 1
    assert store.get(digest) == LARGE
    server.want(frozenset())
    assert client.offer(LARGE) == 0


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("Content-Length: 6", b"a blow", 400),
        ("Content-Length: 99999999999", b"", 413),
        ("Content-Length: -1", b"", 413),
        ("Transfer-Encoding: chunked", b"0\r\n\r\n", 413),
    ],
)
def test_other_bytes_than_those_looked_for_are_not_kept(
    stack: ExitStack, head: str, body: bytes, status: int
) -> None:
    store, digest = MemoryBlobs(), hashlib.sha256(b"a blob").digest()
    server = stack.enter_context(BlobServer(store, genesis=GENESIS, host="127.0.0.1", port=0))
    server.want(frozenset({digest}))
    host, _, port = server.address.removeprefix("http://").partition(":")
    asking = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
    asking.sendall(f"PUT /blobs/{digest.hex()} HTTP/1.0\r\n{head}\r\n\r\n".encode() + body)
    with asking.makefile("rb") as file:
        assert file.readline().split()[1] == str(status).encode()
    assert store.read_part(digest, 0, 1) is None


def test_who_brings_a_blob_byte_by_byte_is_left_at_its_time(stack: ExitStack) -> None:
    now_s = [0.0]
    store, digest = MemoryBlobs(), hashlib.sha256(LARGE).digest()
    server = stack.enter_context(
        BlobServer(store, genesis=GENESIS, host="127.0.0.1", port=0, clock=lambda: now_s[0])
    )
    server.want(frozenset({digest}))
    host, _, port = server.address.removeprefix("http://").partition(":")
    asking = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
    head = f"PUT /blobs/{digest.hex()} HTTP/1.0\r\nContent-Length: {len(LARGE)}\r\n\r\n"
    asking.sendall(head.encode() + LARGE[:1000])
    now_s[0] = peers.DEADLINE_S + 1
    with suppress(OSError):
        asking.sendall(b"x")
    assert asking.recv(1) == b""
