"""Slow places of blobs, asked by a thread: who votes never waits for another machine.

A blob that is lacked is missing for now, as it is for whoever asks over the streams; it comes into
the own store when the place has sent it, and the next look finds it there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from typing import Any

from consensus.content.interface import Blobs
from consensus.errors import BlobMissing, BlobTooLarge, BlobUnavailable

MAX_WAITING = 256
"""Blobs that wait to be fetched, put or let go; those beyond are forgotten, and asked for again."""
PAUSE_S = 2.0
"""Before a blob that the place had not is looked for again."""


class BackgroundBlobs:
    """A place behind a thread. own : where what it sends is kept, on this machine"""

    def __init__(
        self,
        place: Blobs,
        own: Blobs,
        *,
        log: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """log : a structlog logger: the class of an error that is none of a place or a disk"""
        self._place, self._own, self._log, self._clock = place, own, log, clock
        self._asked: dict[bytes, float] = {}
        self._work: Queue[Callable[[], None]] = Queue(MAX_WAITING)
        self._thread: Thread | None = None

    def get(self, digest: bytes) -> bytes:
        """Raises BlobMissing, and has it fetched."""
        now = self._clock()
        self._asked = {d: again for d, again in self._asked.items() if again > now}
        if digest not in self._asked and self._add(lambda: self._fetch(digest)):
            self._asked[digest] = now + PAUSE_S
        raise BlobMissing(digest)

    def put(self, raw: bytes) -> bytes:
        """Has the bytes put there, from the own store, where they are."""
        digest = hashlib.sha256(raw).digest()
        self._add(lambda: self._send(digest))
        return digest

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        """None: what the place has is its to show."""
        return None

    def discard(self, digest: bytes) -> None:
        """Has it let go there."""
        self._add(lambda: self._place.discard(digest))

    def wait(self) -> None:
        """Returns when all that was asked for so far was tried."""
        self._work.join()

    def _add(self, work: Callable[[], None]) -> bool:
        try:
            self._work.put_nowait(work)
        except Full:
            return False
        if self._thread is None:
            self._thread = Thread(target=self._run, name="blobs", daemon=True)
            self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                with suppress(OSError, BlobUnavailable, BlobTooLarge):
                    work()
            except Exception as error:  # a fault of ours; without the thread no blob would come
                self._log.error("a blob was given up", error=type(error).__name__)
            finally:
                self._work.task_done()

    def _fetch(self, digest: bytes) -> None:
        self._own.put(self._place.get(digest))

    def _send(self, digest: bytes) -> None:
        self._place.put(self._own.get(digest))


class SeveralBlobs:
    """Places that others write to, asked in order; one that fails is passed over."""

    def __init__(self, places: Sequence[Blobs]) -> None:
        self._places = places

    def get(self, digest: bytes) -> bytes:
        """Raises BlobUnavailable when none has it."""
        error: BlobUnavailable = BlobMissing(digest)
        for place in self._places:
            try:
                return place.get(digest)
            except BlobUnavailable as found:
                error = found
            except OSError:
                continue
        raise error

    def put(self, raw: bytes) -> bytes:
        for place in self._places:
            with suppress(OSError):
                place.put(raw)
        return hashlib.sha256(raw).digest()

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        parts = (place.read_part(digest, start, length) for place in self._places)
        return next((part for part in parts if part is not None), None)

    def discard(self, digest: bytes) -> None:
        for place in self._places:
            with suppress(OSError):
                place.discard(digest)
