"""Content-addressed bytes: pools, keys, models. A block names digests; who reads checks them.

A validator has a store of its own, which no one else writes to (`KeptBlobs`): what it has read for
a block it votes for is in there, on disk, before the vote. So at least f + 1 correct validators
keep every blob of a final block, whatever happens to the place in which a client put it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from consensus.content.folder import FolderObjects
from consensus.content.interface import DIGEST_BYTES, Blobs, Shared
from consensus.errors import BlobCorrupt, BlobMissing, BlobTooLarge, BlobUnavailable, NoFile
from consensus.wire.gossip_messages import MAX_BLOB_BYTES

Limit = Callable[[bytes], int]


class ObjectBlobs:
    """One object per blob, named by its digest; whoever may write to the place may share it.

    An object appears whole or not at all, and what is read is hashed again. Others may write there:
    what is no file, or too long, is not read, and nothing is waited for.
    """

    def __init__(
        self,
        objects: Shared,
        folder: str = "",
        *,
        get_limit: Limit = lambda digest: MAX_BLOB_BYTES,
    ) -> None:
        """folder : of the names, within the objects

        get_limit : the most bytes that a blob of a digest may have, see `blob_limits`
        """
        self._objects, self._get_limit = objects, get_limit
        self._prefix = f"{folder}/" if folder else ""

    def get(self, digest: bytes) -> bytes:
        name, limit = self._name(digest), self._get_limit(digest)
        try:
            found = self._objects.find(name)
            if found is not None and found.n_bytes > limit:
                raise BlobCorrupt(digest)
            _, raw = self._objects.read_part(name, 0, limit + 1)
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        except NoFile:
            raise BlobCorrupt(digest) from None
        if len(raw) > limit or hashlib.sha256(raw).digest() != digest:
            raise BlobCorrupt(digest)
        return raw

    def put(self, raw: bytes) -> bytes:
        digest = hashlib.sha256(raw).digest()
        limit = self._get_limit(digest)
        if len(raw) > limit:
            raise BlobTooLarge(f"{len(raw)} bytes, this store takes {limit}")
        self._objects.write(self._name(digest), [raw])
        return digest

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        try:
            return self._objects.read_part(self._name(digest), start, length)
        except (BlobMissing, FileNotFoundError, NoFile):
            return None

    def discard(self, digest: bytes) -> None:
        self._objects.delete(self._name(digest))

    def _name(self, digest: bytes) -> str:
        """Raises BlobMissing for what is no digest."""
        if len(digest) != DIGEST_BYTES:
            raise BlobMissing(digest)
        name = digest.hex()
        return f"{self._prefix}{name[:2]}/{name}"


class FileBlobs(ObjectBlobs):
    """Blobs under a folder; several processes may share it."""

    def __init__(self, root: Path, *, get_limit: Limit = lambda digest: MAX_BLOB_BYTES) -> None:
        super().__init__(FolderObjects(root), get_limit=get_limit)


class KeptBlobs:
    """A node's own store before a folder that it shares with others: what is read, is kept.

    own    : written by this node only
    shared : where clients and other nodes put blobs; it may change, or go away
    """

    def __init__(self, own: Blobs, shared: Blobs) -> None:
        self._own, self._shared = own, shared

    def get(self, digest: bytes) -> bytes:
        """The bytes from the own store, where they lie from now on. Raises BlobMissing,
        BlobCorrupt.
        """
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
        """A part of what is kept: whatever else lies in the shared folder is not for this node to
        show.
        """
        return self._own.read_part(digest, start, length)

    def discard(self, digest: bytes) -> None:
        """Lets it go from both: who still needs it has kept it, or asks those who have."""
        self._own.discard(digest)
        with suppress(OSError):
            self._shared.discard(digest)
