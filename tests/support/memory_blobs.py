"""A store of blobs in memory, for tests in one process."""

from __future__ import annotations

import hashlib

from consensus.errors import BlobMissing


class MemoryBlobs:
    """Bytes by their sha256, see `consensus.content.interface.Blobs`."""

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

    def list_raws(self) -> list[bytes]:
        """All that anybody has put here."""
        return list(self._blobs.values())
