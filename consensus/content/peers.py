"""Blobs from other nodes over HTTP, for nodes that share no folder.

    GET /blobs/<sha256 in hexadecimal digits>       200 with the bytes, 404
    PUT /blobs/<sha256>                             201 for one that the node looks for, else 404
    GET /genesis.json                               of the chain, for who joins it

A node asks one peer after the other for what it lacks, checks the digest, and serves what it keeps
for the chain. Nobody has to be trusted: another digest than the one that was asked for is as good
as no answer. What is read is bounded in bytes and in time, and so is what is served: so many
requests at a time, each with a socket that may not stand still, nor go on for ever byte by byte.

Clients that share no folder with any node bring what they have named in a transaction: a node takes
what it looks for at that time, and nothing else. Beside this way, validators send each other parts
over the streams (`consensus.node.downloads`), which needs no address.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader, RawIOBase
from socket import socket
from threading import BoundedSemaphore, Thread
from typing import Any
from urllib.parse import urlsplit

from consensus.content.interface import CHUNK_BYTES, DIGEST_BYTES, Blobs
from consensus.errors import BlobMissing, PeerInvalid
from consensus.wire.gossip_messages import MAX_BLOB_BYTES

PATH, GENESIS_PATH = "/blobs/", "/genesis.json"
STILL_S = 5.0
"""How long a connection may stand still, at either end; and for the head of a request."""
DEADLINE_S = 60.0
"""For one blob of one peer, at either end."""
MAX_SERVED = 16
"""Requests at a time; those beyond are closed unanswered, and the node asks another peer."""
MAX_PEERS = 64
_ASKED = re.compile(rf"{PATH}([0-9a-f]{{{2 * DIGEST_BYTES}}})", re.ASCII)


class PeerBlobs:
    """What any of these peers has; to read only."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        get_limit: Callable[[bytes], int] = lambda digest: MAX_BLOB_BYTES,
        deadline_s: float = DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """urls : http://HOST:PORT or https://HOST[:PORT]. Raises PeerInvalid.

        get_limit : the most bytes that a blob of a digest may have, see `blob_limits`
        """
        if len(urls) > MAX_PEERS:
            raise PeerInvalid(f"{len(urls)} peers, a node asks at most {MAX_PEERS}")
        self._peers = [_parse(url) for url in urls]
        self._get_limit, self._deadline_s, self._clock = get_limit, deadline_s, clock
        self._first = 0

    def get(self, digest: bytes) -> bytes:
        """The bytes, of the first peer that has them. Raises BlobMissing.

        It begins with the peer that answered last; cost : at most `deadline_s` for each peer.
        """
        if len(digest) != DIGEST_BYTES:
            raise BlobMissing(digest)
        for step in range(len(self._peers)):
            at = (self._first + step) % len(self._peers)
            try:
                raw = self._ask(self._peers[at], digest)
            except (OSError, HTTPException):
                continue
            if hashlib.sha256(raw).digest() == digest:
                self._first = at
                return raw
        raise BlobMissing(digest)

    def offer(self, raw: bytes) -> int:
        """Brings a blob to every peer that looks for it now; how many have taken it.

        cost : at most `deadline_s` for each peer
        """
        digest = hashlib.sha256(raw).digest()
        return sum(self._bring(peer, digest, raw) for peer in self._peers)

    def put(self, raw: bytes) -> bytes:
        """Nothing: peers ask for what they lack. Returns the digest."""
        return hashlib.sha256(raw).digest()

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        """None: what peers have is theirs to show."""
        return None

    def discard(self, digest: bytes) -> None:
        """Nothing: what peers have is theirs."""

    def _ask(self, peer: tuple[type[HTTPConnection], str, int | None], digest: bytes) -> bytes:
        """Whatever the peer sends, within the bounds; b"" beyond them. OSError, HTTPException."""
        kind, host, port = peer
        is_late = _make_deadline(self._clock, self._deadline_s)
        connection = kind(host, port, timeout=STILL_S)
        connection.response_class = _make_response(is_late)
        try:
            connection.request("GET", PATH + digest.hex())
            response = connection.getresponse()
            if response.status != 200:
                return b""
            return self._read(response, self._get_limit(digest))
        finally:
            connection.close()

    def _bring(
        self, peer: tuple[type[HTTPConnection], str, int | None], digest: bytes, raw: bytes
    ) -> bool:
        kind, host, port = peer
        connection = kind(host, port, timeout=STILL_S)
        connection.response_class = _make_response(_make_deadline(self._clock, self._deadline_s))
        try:
            connection.request("PUT", PATH + digest.hex(), body=raw)
            return connection.getresponse().status == 201
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _read(self, response: HTTPResponse, limit: int) -> bytes:
        raw = bytearray()
        while chunk := response.read1(CHUNK_BYTES):
            raw += chunk
            if len(raw) > limit:
                return b""
        return bytes(raw)


def _make_deadline(clock: Callable[[], float], limit_s: float) -> Callable[[], bool]:
    """Whether more time than this has passed from now on."""
    ends_at = clock() + limit_s
    return lambda: clock() > ends_at


class _Hurried(RawIOBase):
    """A socket's side to read from, until it is late: TimeoutError, however little was read.

    A line is read in as many pieces as the peer likes, and only the socket's own limit on each.
    """

    def __init__(self, source: RawIOBase, is_late: Callable[[], bool]) -> None:
        self._source, self._is_late = source, is_late

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._is_late():
            raise TimeoutError
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()


def _make_response(is_late: Callable[[], bool]) -> type[HTTPResponse]:
    class Response(HTTPResponse):
        def __init__(self, sock: socket, *arguments: Any, **options: Any) -> None:
            super().__init__(sock, *arguments, **options)
            self.fp = BufferedReader(_Hurried(self.fp.detach(), is_late))

    return Response


class BlobServer:
    """Serves a node's own blobs meanwhile; use it in a `with` block. Raises OSError."""

    def __init__(
        self,
        store: Blobs,
        *,
        genesis: bytes,
        host: str,
        port: int,
        get_limit: Callable[[bytes], int] = lambda digest: MAX_BLOB_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """genesis : its file; port : 0 takes any free one, see `address`

        get_limit : the most bytes that a blob of a digest may have, see `blob_limits`
        """
        self._wanted: frozenset[bytes] = frozenset()
        shelf = _Shelf(store, lambda digest: digest in self._wanted, get_limit)
        self._server = _Server((host, port), _make_handler(shelf, genesis, clock))
        self._thread = Thread(target=self._server.serve_forever, name="blob server", daemon=True)

    @property
    def address(self) -> str:
        """http://HOST:PORT"""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def want(self, digests: frozenset[bytes]) -> None:
        """What is taken from now on of those who bring it: what the node looks for."""
        self._wanted = digests

    def __enter__(self) -> BlobServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class _Shelf:
    """A node's own blobs, and which others it takes."""

    store: Blobs
    is_wanted: Callable[[bytes], bool]
    get_limit: Callable[[bytes], int]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._room = BoundedSemaphore(MAX_SERVED)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # the system gives no thread
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who asked went away, or stood still."""


def _make_handler(
    shelf: _Shelf, genesis: bytes, clock: Callable[[], float]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = STILL_S
        rfile: BufferedReader

        def setup(self) -> None:
            super().setup()
            self.is_late = _make_deadline(clock, STILL_S)
            self.rfile = BufferedReader(_Hurried(self.rfile.detach(), lambda: self.is_late()))

        def do_GET(self) -> None:
            if self.path == GENESIS_PATH:
                self._begin("application/json", len(genesis))
                self.wfile.write(genesis)
                return
            digest = self._read_digest()
            found = shelf.store.read_part(digest, 0, CHUNK_BYTES)
            if found is None:
                self.send_error(404)
                return
            size, part = found
            is_late = _make_deadline(clock, DEADLINE_S)
            self._begin("application/octet-stream", size)
            n_sent = 0
            while part and not is_late():
                self.wfile.write(part)
                n_sent += len(part)
                following = shelf.store.read_part(digest, n_sent, CHUNK_BYTES)
                part = following[1] if following else b""  # let go meanwhile: cut short

        def do_PUT(self) -> None:
            digest, length = self._read_digest(), self.headers.get("Content-Length", "")
            self.close_connection = True  # of a refusal the body is still on the way
            if not shelf.is_wanted(digest):
                self.send_error(404)
                return
            if not re.fullmatch(r"[0-9]{1,10}", length) or int(length) > shelf.get_limit(digest):
                self.send_error(413)
                return
            self.is_late = _make_deadline(clock, DEADLINE_S)
            raw = self.rfile.read(int(length))
            if hashlib.sha256(raw).digest() != digest:
                self.send_error(400)
                return
            shelf.store.put(raw)
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _read_digest(self) -> bytes:
            """Empty for another path."""
            asked = _ASKED.fullmatch(self.path)
            return bytes.fromhex(asked[1]) if asked else b""

        def _begin(self, kind: str, size: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(size))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: anyone can ask."""

    return Handler


def _parse(url: str) -> tuple[type[HTTPConnection], str, int | None]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # what no look-up of the name would take
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    kinds = {"http": HTTPConnection, "https": HTTPSConnection}
    is_bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in kinds or not host or not is_bare:
        raise PeerInvalid(f"{url!r} is no peer: give http://HOST:PORT, or https://HOST")
    return kinds[parts.scheme], host, port
