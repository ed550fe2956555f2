"""Content-addressed bytes: pools, keys, models. A block names digests; who reads checks them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from kernels.files import PRIVATE, write_whole

DIGEST_BYTES = 32
MAX_BLOB_BYTES = 1 << 28


class BlobUnavailable(Exception):
    """The bytes of a digest cannot be had. digest : 32 bytes; what : why"""

    def __init__(self, digest: bytes, what: str) -> None:
        self.digest, self.what = digest, what
        super().__init__(f"blob {digest.hex()} {what}")


class BlobMissing(BlobUnavailable):
    """It is not here: fetch it from whoever named it."""

    def __init__(self, digest: bytes) -> None:
        super().__init__(digest, "is not here")


class BlobCorrupt(BlobUnavailable):
    """What lies under the digest has another one, or is too long: delete it and fetch it again."""

    def __init__(self, digest: bytes) -> None:
        super().__init__(digest, "is corrupt on this machine")


class BlobTooLarge(ValueError):
    """More bytes than a store takes."""


class Blobs(Protocol):
    """Bytes by their sha256."""

    def get(self, digest: bytes) -> bytes:
        """The bytes of this digest. Raises BlobMissing, BlobCorrupt."""
        ...

    def put(self, raw: bytes) -> bytes:
        """Keeps the bytes; returns their digest. Raises BlobTooLarge."""
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


class FileBlobs:
    """One file per blob under `root`, named by its digest; several processes may share it.

    A file appears whole or not at all, and what is read is hashed again.
    """

    def __init__(self, root: Path, *, max_bytes: int = MAX_BLOB_BYTES) -> None:
        self._root = root
        self._max_bytes = max_bytes

    def get(self, digest: bytes) -> bytes:
        path = self._path(digest)
        try:
            with path.open("rb") as file:
                raw = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        if len(raw) > self._max_bytes or hashlib.sha256(raw).digest() != digest:
            raise BlobCorrupt(digest)
        return raw

    def put(self, raw: bytes) -> bytes:
        if len(raw) > self._max_bytes:
            raise BlobTooLarge(f"{len(raw)} bytes, this store takes {self._max_bytes}")
        digest = hashlib.sha256(raw).digest()
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [raw], mode=PRIVATE)
        return digest

    def _path(self, digest: bytes) -> Path:
        if len(digest) != DIGEST_BYTES:
            raise BlobMissing(digest)
        name = digest.hex()
        return self._root / name[:2] / name
