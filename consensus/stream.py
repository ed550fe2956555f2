"""Transport over Redis Streams: bytes to everyone, and everyone's bytes. Nothing of it is trusted.

Three streams per chain, each bounded: `transactions` of clients, `votes` (all that validators say),
`final` (blocks with certificates). Readers go by entry id from where they are, each for itself. A
server that was emptied or rewritten begins again at smaller ids; a reader notices and begins again
too. A key that was made unusable (of another type, its ids used up) is deleted. Whoever sends,
repeats what still matters; whoever reads, drops transactions and final blocks that it has seen
(what validators say is taken again: it may have come too early).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from consensus.messages import FinalBlock

TRANSACTIONS, VOTES, FINAL = "transactions", "votes", "final"
STREAMS = (TRANSACTIONS, VOTES, FINAL)
MAX_ENTRIES = 4096
MAX_SEEN = 1 << 15
MAX_MESSAGE_BYTES = FinalBlock.MAX_BYTES
_PER_READ = 256
_FIELD = b"m"
_START = b"0-0"


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes that somebody put into a stream."""

    stream: str
    raw: bytes


class Transport:
    """One reader's and sender's side. Raises redis.RedisError."""

    def __init__(self, redis: Redis, chain: bytes, streams: Iterable[str] = STREAMS) -> None:
        """chain : the genesis digest, which names the streams"""
        self._redis: Any = redis
        self._prefix = f"zkpot:chain:{chain.hex()[:32]}:"
        self._at = {self._key(name): _START for name in streams}
        self._seen: dict[bytes, None] = {}
        self.n_dropped = 0

    def send(self, stream: str, raw: bytes) -> None:
        """To everyone, this reader included."""
        key = self._key(stream)
        try:
            self._redis.xadd(key, {_FIELD: raw}, maxlen=MAX_ENTRIES, approximate=True)
        except ResponseError:
            self._redis.delete(key)
            self._redis.xadd(key, {_FIELD: raw}, maxlen=MAX_ENTRIES, approximate=True)

    def read(self, block_ms: int) -> list[Incoming]:
        """What has come, waiting at most block_ms for something."""
        try:
            found = self._redis.xread(self._at, count=_PER_READ, block=max(1, block_ms))
        except ResponseError:
            self.mind_rewrites()
            raise
        incoming: list[Incoming] = []
        for key, entries in found:
            stream = key.decode().removeprefix(self._prefix)
            for entry, fields in entries:
                self._at[key.decode()] = entry
                raw = fields.get(_FIELD)
                if raw is None or len(raw) > MAX_MESSAGE_BYTES:
                    self.n_dropped += 1
                elif stream == VOTES or self._is_new(stream, raw):
                    incoming.append(Incoming(stream, raw))
        return incoming

    def mind_rewrites(self) -> bool:
        """Begins again at the first entry of a stream that ends before where this reader is."""
        rewritten = False
        for key, at in self._at.items():
            try:
                last = self._redis.xrevrange(key, count=1)
            except ResponseError:
                self._redis.delete(key)
                last = []
            end = last[0][0] if last else _START
            if _parse_id(end) < _parse_id(at):
                self._at[key] = _START
                rewritten = True
        return rewritten

    def forget(self, raw: bytes) -> None:
        """Takes these bytes for new when they come again: they came too early to be of use."""
        for stream in STREAMS:
            self._seen.pop(_compute_digest(stream, raw), None)

    def _is_new(self, stream: str, raw: bytes) -> bool:
        digest = _compute_digest(stream, raw)
        if digest in self._seen:
            return False
        self._seen[digest] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        return True

    def _key(self, stream: str) -> str:
        return self._prefix + stream


def _compute_digest(stream: str, raw: bytes) -> bytes:
    """Of a message in its stream: what came in a wrong one must not stop it in the right one."""
    return hashlib.sha256(stream.encode() + b"\x00" + raw).digest()


def _parse_id(entry: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number or 0)
