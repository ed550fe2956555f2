"""Content-addressed bytes: pools, keys, models. A block names digests; who reads checks them.

A validator has a store of its own, which no one else writes to (`KeptBlobs`): what it has read for
a block it votes for is in there, on disk, before the vote. So at least f + 1 correct validators
keep every blob of a final block, whatever happens to the folder in which a client put it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from consensus.disk.records import sync_folder
from consensus.errors import BlobCorrupt, BlobMissing, BlobTooLarge, BlobUnavailable
from kernels.files import PRIVATE, write_whole

DIGEST_BYTES = 32
MAX_BLOB_BYTES = 1 << 28


class Blobs(Protocol):
    """Bytes by their sha256."""

    def get(self, digest: bytes) -> bytes:
        """The bytes of this digest. Raises BlobMissing, BlobCorrupt."""
        ...

    def put(self, raw: bytes) -> bytes:
        """Keeps the bytes; returns their digest. Raises BlobTooLarge."""
        ...

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        """The size of a blob and these bytes of it, not checked; None when it is not here."""
        ...

    def discard(self, digest: bytes) -> None:
        """Lets the bytes of this digest go, if they are here."""
        ...


class MemoryBlobs:
    """In memory, for tests and for clients of one process."""

    def __init__(self) -> None:
        self._blobs: dict[bytes, bytes] = {}

    def get(self, digest: bytes) -> bytes:
        try:
            return self._blobs[digest]
        except KeyError:
            raise BlobMissing(digest) from None

    def put(self, raw: bytes) -> bytes:
        digest = hashlib.sha256(raw).digest()
        self._blobs[digest] = raw
        return digest

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        raw = self._blobs.get(digest)
        return None if raw is None else (len(raw), raw[start : start + length])

    def discard(self, digest: bytes) -> None:
        self._blobs.pop(digest, None)


class FileBlobs:
    """One file per blob under `root`, named by its digest; several processes may share it.

    A file appears whole or not at all, and what is read is hashed again. Others may write there:
    what is no file, or too long, is not read, and nothing is waited for.
    """

    def __init__(
        self, root: Path, *, get_limit: Callable[[bytes], int] = lambda digest: MAX_BLOB_BYTES
    ) -> None:
        """get_limit : the most bytes that a blob of a digest may have, see `blob_limits`"""
        self._root = root
        self._get_limit = get_limit

    def get(self, digest: bytes) -> bytes:
        limit = self._get_limit(digest)
        with self._open(digest) as file:
            is_long = os.fstat(file.fileno()).st_size > limit
            raw = b"" if is_long else file.read(limit + 1)
        if is_long or len(raw) > limit or hashlib.sha256(raw).digest() != digest:
            raise BlobCorrupt(digest)
        return raw

    def _open(self, digest: bytes) -> BinaryIO:
        """Raises BlobMissing; BlobCorrupt for what is no file, be it a pipe that nobody fills."""
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BlobCorrupt(digest)
        return os.fdopen(descriptor, "rb")

    def put(self, raw: bytes) -> bytes:
        digest = hashlib.sha256(raw).digest()
        limit = self._get_limit(digest)
        if len(raw) > limit:
            raise BlobTooLarge(f"{len(raw)} bytes, this store takes {limit}")
        path = self._path(digest)
        is_first = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [raw], mode=PRIVATE)
        if is_first:
            sync_folder(self._root)  # or a crash could lose the folder's name
        return digest

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        try:
            with self._open(digest) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(start)
                return size, file.read(length)
        except BlobUnavailable:
            return None

    def discard(self, digest: bytes) -> None:
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: bytes) -> Path:
        if len(digest) != DIGEST_BYTES:
            raise BlobMissing(digest)
        name = digest.hex()
        return self._root / name[:2] / name


class KeptBlobs:
    """A node's own store before a folder that it shares with others: what is read, is kept.

    own    : written by this node only
    shared : where clients and other nodes put blobs; it may change, or go away
    """

    def __init__(self, own: Blobs, shared: Blobs) -> None:
        self._own, self._shared = own, shared

    def get(self, digest: bytes) -> bytes:
        """From the own store, where it lies from now on. Raises BlobMissing, BlobCorrupt."""
        try:
            return self._own.get(digest)
        except BlobUnavailable:
            try:
                raw = self._shared.get(digest)
            except OSError:
                raise BlobMissing(digest) from None
        self._own.put(raw)
        return raw

    def put(self, raw: bytes) -> bytes:
        """Into both; the shared one is for others, who can ask this node as well."""
        digest = self._own.put(raw)
        with suppress(OSError):
            self._shared.put(raw)
        return digest

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        """Of what is kept: whatever else lies in the shared folder is not for this node to show."""
        return self._own.read_part(digest, start, length)

    def discard(self, digest: bytes) -> None:
        """From both: who still needs it has kept it, or asks those who have."""
        self._own.discard(digest)
        with suppress(OSError):
            self._shared.discard(digest)
