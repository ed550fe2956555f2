"""Objects in a bucket of an S3-compatible store, for machines that share no folder.

Spoken by obstore: Apache's `object_store` (of DataFusion and others, in Rust) for Python. Chosen
over boto3 and minio because it is one wheel that needs no other package and loads in 50 ms, is
typed, has conditional writes and multipart uploads as plain calls, bounds every request in time,
and repeats what failed on the way. The extra `s3` installs it; nothing imports it before a store
is opened. Endpoint, region and credentials come from the environment, by the names of AWS:
AWS_ENDPOINT_URL (http:// is taken at its word: private content is sealed, and no secret of the
credentials travels), AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; roles of pods and
machines are found too.

An object shows when all of it is there, and a later read sees it (S3 is consistent). A write that
is killed leaves parts of an upload that nobody sees: let the bucket abort those after a day
(AbortIncompleteMultipartUpload). Nothing tells whether a writer lives, so what it holds is taken
for abandoned when it is old: who wakes up after that finds its job without its files, by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from consensus.content.interface import Found, is_name, require_name, require_prefix
from consensus.content.sealed import Bare, Coat
from consensus.errors import StoreFailed
from kernels.files import Chunk

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

READ_BYTES = 1 << 23
"""Of one request; and of one part of an upload."""
_PARTS_AT_A_TIME = 4
_CONNECT_S, _REQUEST_S, _RETRY_S = 5, 60, 30
_RETRIES = 3
_ABANDONED_AFTER_S = 3600.0
_AT_A_TIME = 1000


class S3Objects:
    """Objects under a prefix of a bucket, see `consensus.content.interface.Shared`."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        coat: Coat | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """coat : on what `write` and `stream` carry; none for public content

        Raises StoreFailed when the library is not installed, or the environment makes no sense.
        """
        self._where = f"s3://{bucket}/{prefix}".rstrip("/")
        self._coat, self._clock = coat or Bare(), clock
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError:
            raise StoreFailed(
                self._where, "needs the package obstore", "pip install 'zkpot[s3]'"
            ) from None
        self._obs, self._error = obstore, BaseError
        with self._naming():
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                client_options={
                    "allow_http": True,
                    "connect_timeout": timedelta(seconds=_CONNECT_S),
                    "timeout": timedelta(seconds=_REQUEST_S),
                },
                retry_config={
                    "max_retries": _RETRIES,
                    "retry_timeout": timedelta(seconds=_RETRY_S),
                },
            )

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        closed = self._coat.close(require_name(name), chunks)
        first, rest = _take(closed, READ_BYTES)
        with self._naming():
            if rest is None:
                self._obs.put(self._store, name, first, use_multipart=False)
                return
            self._obs.put(
                self._store,
                name,
                _prepend(first, rest),
                chunk_size=READ_BYTES,
                max_concurrency=_PARTS_AT_A_TIME,
            )

    def create(self, name: str, raw: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._naming():
            try:
                self._obs.put(
                    self._store, require_name(name), raw, mode="create", use_multipart=False
                )
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def stream(self, name: str) -> Iterator[bytes]:
        yield from self._coat.open(name, self._stream(require_name(name)))

    def read_part(self, name: str, start: int, length: int) -> tuple[int, bytes]:
        found = self.find(name)
        if found is None:
            raise FileNotFoundError(name)
        end = min(found.n_bytes, start + length)
        return found.n_bytes, self._read(name, start, end)

    def find(self, name: str) -> Found | None:
        meta = self._head(name)
        if meta is None:
            return None
        return Found(name, meta["size"], meta["last_modified"].timestamp())

    def find_all(self, prefix: str) -> Iterator[Found]:
        return (found for found in self._list(prefix) if is_name(found.name))

    def measure(self, prefix: str) -> int:
        return sum(found.n_bytes for found in self._list(prefix))

    def renew(self, name: str) -> bool:
        return False  # S3 refuses a copy of an object onto itself that changes nothing

    def delete(self, name: str) -> None:
        with self._naming(), suppress(FileNotFoundError):
            self._obs.delete(self._store, require_name(name))

    def delete_all(self, prefix: str) -> None:
        names = [found.name for found in self._list(prefix)]
        for first in range(0, len(names), _AT_A_TIME):
            with self._naming(), suppress(FileNotFoundError):
                self._obs.delete(self._store, names[first : first + _AT_A_TIME])

    @contextmanager
    def holding(self, prefix: str) -> Iterator[None]:
        require_prefix(prefix)
        yield

    def list_abandoned(self, prefix: str) -> list[str]:
        newest: dict[str, float] = {}
        for found in self.find_all(prefix):
            part = found.name.removeprefix(prefix).partition("/")[0]
            newest[part] = max(found.modified_at, newest.get(part, 0.0))
        limit = self._clock() - _ABANDONED_AFTER_S
        return [part for part, modified_at in newest.items() if modified_at < limit]

    def sweep(self, prefix: str) -> int:
        return 0

    def local_path(self, name: str) -> Path | None:
        return None

    def _head(self, name: str) -> ObjectMeta | None:
        with self._naming():
            try:
                return self._obs.head(self._store, require_name(name))
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def _list(self, prefix: str) -> Iterator[Found]:
        """Whatever lies there, under any name."""
        with self._naming():
            for page in self._obs.list(self._store, prefix=require_prefix(prefix)):
                for meta in page:
                    yield Found(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def _stream(self, name: str) -> Iterator[bytes]:
        """In requests of a bounded size, so that each is bounded in time too; all of one version,
        as who writes the same bytes anew seals them otherwise. Raises StoreFailed."""
        meta = self._head(name)
        if meta is None:
            raise FileNotFoundError(name)
        for start in range(0, meta["size"], READ_BYTES):
            end = min(meta["size"], start + READ_BYTES)
            yield self._read_version(name, meta["e_tag"], start, end)

    def _read_version(self, name: str, version: str | None, start: int, end: int) -> bytes:
        from obstore.exceptions import PreconditionError

        asked: GetOptions = {"range": (start, end), "if_match": version}
        with self._naming():
            try:
                return bytes(self._obs.get(self._store, name, options=asked).bytes())
            except (PreconditionError, FileNotFoundError):
                raise StoreFailed(
                    self._where, "got an object anew while it was read", "read it again"
                ) from None

    def _read(self, name: str, start: int, end: int) -> bytes:
        if end <= start:
            return b""
        with self._naming():
            return bytes(self._obs.get_range(self._store, name, start=start, end=end))

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of the library by our names; what they say may hold more than anyone may see."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError):
            raise StoreFailed(
                self._where,
                "refuses these credentials",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of who may read, write, list and "
                "delete there",
            ) from None
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise StoreFailed(
                self._where, "has no such bucket", "make it, or correct ZKPOT_STORE"
            ) from None
        except self._error as error:
            raise StoreFailed(
                self._where,
                f"does not answer as it should ({type(error).__name__})",
                "see that it runs, and that AWS_ENDPOINT_URL names it",
            ) from None


def _take(chunks: Iterable[Chunk], n_bytes: int) -> tuple[bytes, Iterator[Chunk] | None]:
    """The first bytes, at least so many of them, and the rest; None when that was all."""
    source, first = iter(chunks), bytearray()
    for chunk in source:
        first += chunk
        if len(first) >= n_bytes:
            return bytes(first), source
    return bytes(first), None


def _prepend(first: bytes, rest: Iterator[Chunk]) -> Iterator[bytes]:
    yield first
    for chunk in rest:
        yield bytes(chunk)
