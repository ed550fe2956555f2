"""What callers upload: files that only their owner gets back, deleted after their time to live.

DATA_DIR/uploads/<owner>/<kind>/<sha256 of the content>, mode 0600 in folders of mode 0700

The owner's part is a digest, so no name of a caller becomes a path. A file is written whole or not
at all, and is checked against its name when it is read. Until it is whole its name begins with a
dot and its writer holds a lock on it, which ends with the writer. What one job alone has, such as a
witness, is in `private`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np

from api.errors import StoreFull, UploadGone, UploadInvalid
from api.queue.queue import hash_name
from api.store.private import PrivateFiles
from federated.data import DatasetRef, load_samples
from federated.errors import TensorFileInvalid
from federated.tensor_file import read_tensors
from kernels.files import PRIVATE, replacing
from kernels.numpy_types import UInt8Array
from kernels.private_folder import make_private_folder

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CHUNK = 1 << 20
MAX_SAMPLES_HEADER_BYTES = 1 << 14
"""Two tensors take 150, and some writers add a few metadata."""
_LOCKED_AFTER_S = 60.0
"""An unfinished file that is older than this has been locked by its writer, if that lives."""


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
    """Uploads under a folder that all processes of the service share.

    private : private files of jobs, which count towards the same limit
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        ttl_s: float,
        limit_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._data_dir = data_dir / "uploads", data_dir
        self.private = PrivateFiles(data_dir)
        self._ttl_s, self._limit_bytes, self._clock = ttl_s, limit_bytes, clock

    def put(self, owner: str, kind: UploadKind, raw: bytes) -> Upload:
        """Stores bytes, or renews their time to live. Raises StoreFull, OSError."""
        digest = hashlib.sha256(raw).hexdigest()
        return self._put(owner, kind, digest, len(raw), lambda file: file.write(raw))

    def put_file(self, owner: str, kind: UploadKind, source: BinaryIO) -> Upload:
        """As `put`, for content too large for memory; from the start of a file that can seek."""
        digest = hash_file(source)
        n_bytes = source.seek(0, os.SEEK_END)
        source.seek(0)
        return self._put(
            owner, kind, digest, n_bytes, lambda file: shutil.copyfileobj(source, file, _CHUNK)
        )

    def get(self, owner: str, kind: UploadKind, digest: str) -> bytes:
        """The content. Raises UploadGone, OSError."""
        path = self.get_path(owner, kind, digest)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise UploadGone(kind) from None
        if hashlib.sha256(raw).hexdigest() != digest:
            path.unlink(missing_ok=True)
            raise UploadGone(kind)
        return raw

    def get_path(self, owner: str, kind: UploadKind, digest: str) -> Path:
        """Where the content is, unchecked. Raises UploadGone."""
        path = self._path(owner, kind, digest)
        if not _DIGEST.fullmatch(digest) or not self._is_alive(path):
            raise UploadGone(kind)
        return path

    def require_room(self, n_bytes: int) -> None:
        """Raises StoreFull when so much more would exceed the limit."""
        used = sum(_size(other) for other in self._list()) + self.private.measure()
        if used + n_bytes > self._limit_bytes:
            raise StoreFull(f"uploads take {used} bytes of {self._limit_bytes}")

    def delete(self, owner: str, kind: UploadKind, digest: str) -> None:
        """Deletes the content if it is there, and its folders when nothing else is in them."""
        if _DIGEST.fullmatch(digest):
            path = self._path(owner, kind, digest)
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()
                path.parent.parent.rmdir()

    def load_samples(self, owner: str, dataset: str) -> tuple[UInt8Array, UInt8Array]:
        """images uint8[N, ...] and labels uint8[N] of the owner's upload or of a built-in name.

        Raises UploadGone, UploadInvalid, FederatedError, OSError.
        """
        if _DIGEST.fullmatch(dataset):
            return parse_samples(self.get(owner, UploadKind.DATASET, dataset))
        samples = load_samples(DatasetRef.parse(dataset), self._data_dir)
        return samples.images, samples.labels

    def sweep(self) -> int:
        """Deletes what has expired, and what a writer that was killed left; how many files."""
        n = 0
        for path in self._list():
            if not self._is_alive(path) or self._is_orphan(path):
                path.unlink(missing_ok=True)
                n += 1
        return n

    def _put(
        self,
        owner: str,
        kind: UploadKind,
        digest: str,
        n_bytes: int,
        write: Callable[[BinaryIO], object],
    ) -> Upload:
        path = self._path(owner, kind, digest)
        if not self._is_alive(path):
            self.require_room(n_bytes)
            for folder in (self._folder, path.parent.parent, path.parent):
                make_private_folder(folder)
            _write_whole(path, write)
        now = self._clock()
        os.utime(path, (now, now))
        return Upload(id=digest, n_bytes=n_bytes, expires_at=now + self._ttl_s)

    def _path(self, owner: str, kind: UploadKind, digest: str) -> Path:
        return self._folder / hash_name(owner) / kind.value / digest

    def _is_alive(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime + self._ttl_s > self._clock()
        except FileNotFoundError:
            return False

    def _is_orphan(self, path: Path) -> bool:
        """An unfinished file that nobody writes any more."""
        try:
            is_young = path.stat().st_mtime + _LOCKED_AFTER_S > self._clock()
            if is_young or not path.name.startswith("."):
                return False
            with path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False
        return True

    def _list(self) -> Iterator[Path]:
        return self._folder.glob("*/*/*")


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


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """By renaming a finished file of mode 0600, which also replaces an expired one."""
    with replacing(path, mode=PRIVATE) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write(stream)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # swept meanwhile
        return 0
