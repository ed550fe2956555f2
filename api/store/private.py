"""Private files of jobs: the witness of one, what the tasks of one share.

    private/<name>/<part>
    private/<name>/<part>-<page>    of a part that each task reads a piece of

A name is random and belongs to one run of one job. The queue takes it over in the step in which the
job starts, or first needs it, and gives it up in the step in which the job ends, however it ends;
what was given up is deleted by whoever calls the queue next (`clear`). Until the queue has it, its
writer holds it, which ends with the writer: so a sweep tells what a killed one has left.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from redis.exceptions import RedisError

from api.errors import PrivateGone
from api.store.local import LocalCopies
from consensus.content.folder import FolderObjects
from consensus.content.interface import CHUNK_BYTES, Objects

if TYPE_CHECKING:
    from api.queue.queue import JobQueue

_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)
_ALL, _KEY, _KEY_BYTES = "private/", "identity.key", 32
_BATCH = 64
PAGE_BYTES = 1 << 22
MAX_PRIVATE_BYTES = 1 << 20
"""Of a part that is read into memory: a blinding takes 300."""


class PrivatePart(StrEnum):
    WITNESS = "witness"
    BLINDING = "blinding"
    ORDER = "order"


class PrivateFolder:
    """Files for a job that the queue has not taken over yet."""

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects, self.name, self.is_kept = objects, name, False

    def write(self, part: PrivatePart, source: BinaryIO) -> None:
        """Writes from the start of a file that can seek. Raises SealError, OSError."""
        self._objects.write(f"{_ALL}{self.name}/{part.value}", read_chunks(source))

    def write_pages(self, part: PrivatePart, source: BinaryIO) -> None:
        """Writes likewise what is read by `PrivateFiles.read_piece`."""
        source.seek(0)
        for page in count():
            raw = source.read(PAGE_BYTES)
            if not raw:
                break
            self._objects.write(_name_page(self.name, part, page), [raw])

    def keep(self) -> None:
        """The queue has taken it over: from now on it goes with the job."""
        self.is_kept = True


class PrivateFiles:
    """The private files of all jobs, in objects that all processes of the service share."""

    def __init__(
        self, objects: Objects, copies: LocalCopies, identity: Callable[[], bytes]
    ) -> None:
        """identity : a secret of the service, for `identify`"""
        self._objects, self._copies, self._identity = objects, copies, identity

    @contextmanager
    def new(self) -> Iterator[PrivateFolder]:
        """A folder, deleted with the end of this unless it is kept. Raises SealError, OSError.

        When the server breaks off nobody knows whether it has taken the folder over: then the
        sweep asks it.
        """
        folder = PrivateFolder(self._objects, secrets.token_hex(16))
        with self._objects.holding(f"{_ALL}{folder.name}/"):
            try:
                yield folder
            except RedisError:
                folder.keep()
                raise
            finally:
                if not folder.is_kept:
                    self.delete(folder.name)

    def identify(self, source: BinaryIO) -> str:
        """What tells a secret content from others: 64 hexadecimal digits. Raises OSError.

        HMAC-SHA256 under a key of the service, from the start of a file that can seek. It stands in
        the queue, where a plain digest would let every reader try values.
        """
        found = hmac.new(self._identity(), digestmod="sha256")
        for chunk in read_chunks(source):
            found.update(chunk)
        return found.hexdigest()

    @contextmanager
    def open_file(self, name: str, part: PrivatePart) -> Iterator[Path]:
        """A file that the queue has taken over. Raises PrivateGone, SealError, OSError."""
        try:
            with self._copies.opening(self._find(name, part)) as path:
                yield path
        except FileNotFoundError:
            raise PrivateGone(part) from None

    def read(self, name: str, part: PrivatePart) -> bytes:
        """Its content, cut at MAX_PRIVATE_BYTES. Raises PrivateGone, SealError, OSError."""
        raw = bytearray()
        try:
            for chunk in self._objects.stream(self._find(name, part)):
                raw += chunk
                if len(raw) >= MAX_PRIVATE_BYTES:
                    break
        except FileNotFoundError:
            raise PrivateGone(part) from None
        return bytes(raw[:MAX_PRIVATE_BYTES])

    def read_piece(self, name: str, part: PrivatePart, start: int, length: int) -> bytes:
        """These bytes of a part that was written in pages, fewer where its last page ends.

        Raises PrivateGone, SealError, OSError.
        cost : of a store that is sealed, the pages that they lie in
        """
        end, raw = start + length, bytearray()
        for page in range(start // PAGE_BYTES, -(-end // PAGE_BYTES)):
            first = page * PAGE_BYTES
            raw += self._read_page(name, part, page, max(start - first, 0), end - first)
        return bytes(raw)

    def _read_page(self, name: str, part: PrivatePart, page: int, start: int, end: int) -> bytes:
        if not _NAME.fullmatch(name):
            raise PrivateGone(part)
        raw = bytearray()
        try:
            for chunk in self._objects.stream(_name_page(name, part, page)):
                raw += chunk
                if len(raw) >= end:
                    break
        except FileNotFoundError:
            raise PrivateGone(part) from None
        return bytes(raw[start:end])

    def delete(self, name: str) -> None:
        """Deletes a folder if it is there. Raises OSError."""
        if _NAME.fullmatch(name):
            self._objects.delete_all(f"{_ALL}{name}/")

    def clear(self, queue: JobQueue) -> None:
        """Deletes what jobs have left that have ended. Raises RedisError, OSError.

        A name leaves the queue when its files are gone: who is killed between the two leaves it to
        the next.
        """
        key = queue.prefix + "private-ended"
        while names := queue.redis.srandmember(key, _BATCH):
            for name in names:
                self.delete(name.decode("ascii", "replace"))
            queue.redis.srem(key, *names)

    def sweep(self, queue: JobQueue) -> int:
        """Deletes what no job has, as after a crash; how many folders.

        Raises RedisError, OSError.
        """
        self.clear(queue)
        # Who held one has asked the queue to take it over by now.
        found = self._objects.list_abandoned(_ALL)
        kept = queue.prefix + "private-folders"
        left = [name for name in found if not queue.redis.hexists(kept, name)]
        for name in left:
            self.delete(name)
        return len(left)

    def measure(self) -> int:
        """Bytes of all files. Raises OSError."""
        return self._objects.measure(_ALL)

    def _find(self, name: str, part: PrivatePart) -> str:
        """The name of an object. Raises PrivateGone."""
        found = f"{_ALL}{name}/{part.value}"
        if not _NAME.fullmatch(name) or self._objects.find(found) is None:
            raise PrivateGone(part)
        return found


def _name_page(name: str, part: PrivatePart, page: int) -> str:
    return f"{_ALL}{name}/{part.value}-{page}"


def make_identity(objects: FolderObjects) -> Callable[[], bytes]:
    """What gives 32 random bytes of a folder, made by whoever needs them first. Raises OSError."""

    def load() -> bytes:
        if objects.find(_KEY) is None:
            objects.create(_KEY, secrets.token_bytes(_KEY_BYTES))
        return objects.read_part(_KEY, 0, _KEY_BYTES)[1]

    return load


def read_chunks(source: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file that can seek, from its start. Raises OSError."""
    source.seek(0)
    while chunk := source.read(CHUNK_BYTES):
        yield chunk
