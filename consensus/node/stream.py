"""Transport over Redis Streams: bytes to everyone, and everyone's bytes. Nothing of it is trusted.

Four streams per chain, each bounded: `transactions` of clients, `votes` (all that validators say),
`final` (blocks with certificates), `blobs` (parts of them, read while a reader lacks one). Readers
go by entry id from where they are, each for itself. A server that was emptied or rewritten begins
again at smaller ids; a reader notices and begins again too. A key that was made unusable (of
another type, its ids used up) is deleted; no other error of the server is a reason to. Whoever
sends, repeats what still matters; whoever reads, drops transactions and final blocks that it has
seen (what validators say is taken again: it may have come too early).

Anyone may put anything into a stream, so no command that returns whole entries is sent, not even to
wait for one: a script looks at lengths first, and a reader that waits asks again and again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import ResponseError

from consensus.wire.messages import FinalBlock
from kernels.lua import Scripts

SCRIPTS = Path(__file__).parent / "scripts"
"""What a transport does inside the server, each in one step."""
TRANSACTIONS, VOTES, FINAL, BLOBS = "transactions", "votes", "final", "blobs"
STREAMS = (TRANSACTIONS, VOTES, FINAL)
"""That are read from their beginning."""
MAX_ENTRIES = 4096
MAX_PARTS = 128
"""Entries of `blobs`, which are large and soon of no use."""
MAX_SEEN = 1 << 15
MAX_MESSAGE_BYTES = FinalBlock.MAX_BYTES
READ_BYTES = MAX_MESSAGE_BYTES
"""Of each stream at a time, so that none makes others wait."""
_PER_READ = 256
_START = b"0-0"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.032


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes that somebody put into a stream."""

    stream: str
    raw: bytes


class Transport:
    """One reader's and sender's side. Raises redis.RedisError."""

    def __init__(self, redis: Redis, chain: bytes, streams: Iterable[str] = STREAMS) -> None:
        """chain : the genesis digest, which names the streams"""
        self._prefix = f"zkpot:chain:{chain.hex()[:32]}:"
        self._at = {self._key(name): _START for name in streams}
        self._seen: dict[bytes, None] = {}
        self._pause_s = _FIRST_PAUSE_S
        self._scripts = Scripts(redis, SCRIPTS)
        self.n_dropped = 0

    def send(self, stream: str, raw: bytes) -> None:
        """Sends to everyone, this reader included."""
        n_kept = MAX_PARTS if stream == BLOBS else MAX_ENTRIES
        self._scripts.run("add", stream=self._key(stream), message=raw, n_kept=n_kept)

    def listen(self, stream: str) -> None:
        """Reads this stream too, from its end on; nothing changes if it is read already."""
        key = self._key(stream)
        if key not in self._at:
            self._at[key] = self._scripts.run("find_end", stream=key)

    def ignore(self, stream: str) -> None:
        """Reads it no more."""
        self._at.pop(self._key(stream), None)

    def read(self, block_ms: int) -> list[Incoming]:
        """What has come, waiting at most block_ms for something.

        It asks at once, and then after pauses that double while nothing comes, also from one call
        to the next.
        """
        ends_at = time.monotonic() + block_ms / 1000
        while True:
            incoming, n_read = self._read_now()
            left_s = ends_at - time.monotonic()
            if n_read:
                self._pause_s = _FIRST_PAUSE_S
            if n_read or left_s <= 0:
                return incoming
            time.sleep(min(self._pause_s, left_s))
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _read_now(self) -> tuple[list[Incoming], int]:
        """What is new of all that has come, and how many entries that was."""
        at = dict(self._at)
        try:
            answers = self._scripts.run(
                "fetch",
                streams=list(at),
                n_most=_PER_READ,
                longest=MAX_MESSAGE_BYTES,
                room_most=READ_BYTES,
                at=list(at.values()),
            )
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                self.mind_rewrites()
            raise
        incoming, n_read = [], 0
        for key, (last, n_dropped, found) in zip(at, answers, strict=True):
            stream = key.removeprefix(self._prefix)
            self._at[key] = last
            self.n_dropped += n_dropped
            n_read += n_dropped + len(found)
            is_repeated = stream in (VOTES, BLOBS)
            new = (raw for raw in found if is_repeated or self._is_new(stream, raw))
            incoming += [Incoming(stream, raw) for raw in new]
        return incoming, n_read

    def mind_rewrites(self) -> bool:
        """Begins again at the first entry of a stream that ends before where this reader is."""
        rewritten = False
        for key, at in self._at.items():
            end = self._scripts.run("find_end", stream=key)
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
