"""What callers upload: content that only its owner gets back, deleted after its time to live.

    uploads/<owner>/<kind>/<sha256 of the content>

The owner's part is a digest, so no name of a caller becomes one of an object. An upload is there
whole or not at all, and is checked against its name when it is read. What one job alone has, such
as a witness, is in `private`.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np

from api.errors import StoreFull, UploadGone, UploadInvalid
from api.queue.queue import hash_name
from api.store.local import LocalCopies
from api.store.private import PrivateFiles, make_identity, read_chunks
from consensus.content.folder import FolderObjects
from consensus.content.interface import Found, Objects
from consensus.errors import SealBroken
from federated.data import DatasetRef, count_here, load_samples
from federated.errors import TensorFileInvalid
from federated.sources.datasets import IdxDataset
from federated.tensor_file import read_tensors
from kernels.files import Chunk
from kernels.numpy_types import UInt8Array

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ALL = "uploads/"
_FRESH_S = 120.0
"""An upload that cannot be renewed, only written anew, is so no more often: a worker that reads it
meanwhile begins again, and would never end if every job with the same key wrote it anew."""
_MAX_READ_BYTES = 1 << 28
"""Of an upload that is read into memory: more than any request may bring."""
MAX_SAMPLES_HEADER_BYTES = 1 << 14
"""Two tensors take 150, and some writers add a few metadata."""


class UploadKind(StrEnum):
    MODEL = "model"
    DATASET = "dataset"
    COMMITMENT = "commitment"
    ZKEY = "zkey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """id : sha256 of the content; expires_at : seconds since 1970"""

    id: str
    n_bytes: int
    expires_at: float


class UploadStore:
    """Uploads of all callers, in objects that all processes of the service share."""

    def __init__(
        self,
        objects: Objects,
        data_dir: Path,
        *,
        identity: Callable[[], bytes],
        ttl_s: float,
        limit_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """data_dir : of this machine: data sets, and copies for readers that need a file

        identity    : see `PrivateFiles`, whose files count towards the same limit
        """
        self._objects, self._data_dir = objects, data_dir
        self._copies = LocalCopies(objects, data_dir)
        self.private = PrivateFiles(objects, self._copies, identity)
        self._ttl_s, self._limit_bytes, self._clock = ttl_s, limit_bytes, clock

    @classmethod
    def in_folder(
        cls,
        data_dir: Path,
        *,
        ttl_s: float,
        limit_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> UploadStore:
        """A store in the data directory itself, which all processes of the service share then."""
        objects = FolderObjects(data_dir, is_private=True, clock=clock)
        identity = make_identity(objects)
        return cls(
            objects, data_dir, identity=identity, ttl_s=ttl_s, limit_bytes=limit_bytes, clock=clock
        )

    def put(self, owner: str, kind: UploadKind, raw: bytes) -> Upload:
        """Stores bytes, or renews their time to live. Raises StoreFull, SealError, OSError."""
        return self._put(owner, kind, hashlib.sha256(raw).hexdigest(), len(raw), [raw])

    def put_file(self, owner: str, kind: UploadKind, source: BinaryIO) -> Upload:
        """Stores as `put` does, for content too large for memory; from the start of a file that can
        seek.
        """
        digest = hash_file(source)
        n_bytes = source.seek(0, os.SEEK_END)
        return self._put(owner, kind, digest, n_bytes, read_chunks(source))

    def get(self, owner: str, kind: UploadKind, digest: str) -> bytes:
        """The content, no more than fits into memory. Raises UploadGone, SealError, OSError."""
        self.require(owner, kind, digest)
        name, raw = _name(owner, kind, digest), bytearray()
        with self._opening(name, kind):
            for chunk in self._objects.stream(name):
                raw += chunk
                if len(raw) > _MAX_READ_BYTES:
                    break
        self._require_digest(name, kind, hashlib.sha256(raw).hexdigest())
        return bytes(raw)

    @contextmanager
    def open_file(self, owner: str, kind: UploadKind, digest: str) -> Iterator[Path]:
        """A file with the content meanwhile. Raises UploadGone, SealError, OSError."""
        self.require(owner, kind, digest)
        name = _name(owner, kind, digest)
        with self._opening(name, kind), self._copies.opening(name) as path:
            with path.open("rb") as file:
                self._require_digest(name, kind, hash_file(file))
            yield path

    def require(self, owner: str, kind: UploadKind, digest: str) -> None:
        """Raises UploadGone when it is not there, OSError."""
        is_digest = _DIGEST.fullmatch(digest) is not None
        if not is_digest or not self._is_alive(self._objects.find(_name(owner, kind, digest))):
            raise UploadGone(kind)

    def measure(self, owner: str, kind: UploadKind, digest: str) -> int:
        """Bytes of the content. Raises UploadGone when it is not there, OSError."""
        self.require(owner, kind, digest)
        found = self._objects.find(_name(owner, kind, digest))
        if found is None:
            raise UploadGone(kind)
        return found.n_bytes

    def require_room(self, n_bytes: int) -> None:
        """Raises StoreFull when so much more would exceed the limit."""
        used = self._objects.measure(_ALL) + self.private.measure()
        if used + n_bytes > self._limit_bytes:
            raise StoreFull(f"uploads take {used} bytes of {self._limit_bytes}")

    def load_samples(self, owner: str, dataset: str) -> tuple[UInt8Array, UInt8Array]:
        """images uint8[N, ...] and labels uint8[N] of the owner's upload or of a built-in name.

        Raises UploadGone, UploadInvalid, FederatedError, SealError, OSError.
        """
        if _DIGEST.fullmatch(dataset):
            return parse_samples(self.get(owner, UploadKind.DATASET, dataset))
        samples = load_samples(DatasetRef.parse(dataset), self._data_dir)
        return samples.images, samples.labels

    def count_here(self, dataset: IdxDataset, split: str) -> int:
        """How many of a built-in data set's samples are on this machine."""
        return count_here(dataset, split, self._data_dir)

    def sweep(self) -> int:
        """Deletes what has expired, and what a process that was killed left; how many files."""
        expired = [found for found in self._objects.find_all(_ALL) if not self._is_alive(found)]
        for found in expired:
            self._objects.delete(found.name)
        return len(expired) + self._objects.sweep(_ALL) + self._copies.sweep()

    def _put(
        self, owner: str, kind: UploadKind, digest: str, n_bytes: int, chunks: Iterable[Chunk]
    ) -> Upload:
        name = _name(owner, kind, digest)
        found, now = self._objects.find(name), self._clock()
        is_alive = self._is_alive(found)
        if not is_alive:
            self.require_room(n_bytes)
        if not is_alive or not self._objects.renew(name):
            if found is not None and is_alive and found.modified_at + _FRESH_S > now:
                now = found.modified_at
            else:
                self._objects.write(name, chunks)
        return Upload(id=digest, n_bytes=n_bytes, expires_at=now + self._ttl_s)

    def _is_alive(self, found: Found | None) -> bool:
        return found is not None and found.modified_at + self._ttl_s > self._clock()

    @contextmanager
    def _opening(self, name: str, kind: UploadKind) -> Iterator[None]:
        """Raises UploadGone for what is not there; what is broken goes: it is uploaded again."""
        try:
            yield
        except FileNotFoundError:
            raise UploadGone(kind) from None
        except SealBroken as error:
            if error.name == name:  # not another one, which is read meanwhile
                self._objects.delete(name)
            raise

    def _require_digest(self, name: str, kind: UploadKind, digest: str) -> None:
        """What has another digest than its name says goes, and UploadGone is raised."""
        if not name.endswith(f"/{digest}"):
            self._objects.delete(name)
            raise UploadGone(kind)


def _name(owner: str, kind: UploadKind, digest: str) -> str:
    return f"{_ALL}{hash_name(owner)}/{kind.value}/{digest}"


def hash_file(source: BinaryIO) -> str:
    """The id that the content has in the store. Raises OSError."""
    source.seek(0)
    return hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]


def parse_samples(raw: bytes) -> tuple[UInt8Array, UInt8Array]:
    """images uint8[N, ...] and labels uint8[N] of a safetensors file. Raises UploadInvalid."""
    try:
        tensors = read_tensors(raw, max_header_bytes=MAX_SAMPLES_HEADER_BYTES)
    except TensorFileInvalid as error:
        raise UploadInvalid(f"the file of samples cannot be read: {error}") from None
    if set(tensors) != {"images", "labels"}:
        raise UploadInvalid("the tensors are not `images` and `labels`")
    images, labels = tensors["images"], tensors["labels"]
    fits = images.ndim >= 2 and labels.shape == images.shape[:1] and images.size > 0
    if not fits or images.dtype != np.uint8 or labels.dtype != np.uint8:
        raise UploadInvalid("images are uint8[N, ...] and labels uint8[N], N >= 1")
    return images, labels
