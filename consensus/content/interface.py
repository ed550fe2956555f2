"""What a place for bytes offers, whoever keeps them: a folder of this machine, or an object store.

    Blobs       bytes by their SHA-256: what a block names
    Objects     bytes by a name: uploads of callers, private files of jobs
    Shared      likewise, public: keys, and what `Blobs` are kept in

A name is `part/part/part`; none of its parts begins with a dot, so none leads out of the place and
none is that of a file under way. An object is there whole or not at all. Whoever reads checks the
digest, wherever the bytes have been.

    BlobUnavailable
    ├── BlobMissing
    └── BlobCorrupt
    BlobTooLarge, NameInvalid (ValueError)
    NoFile (OSError)
    StoreFailed (OSError)          the object store does not answer, or refuses
    SealError, see `consensus.content.sealed`
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from consensus.errors import NameInvalid
from kernels.files import Chunk

DIGEST_BYTES = 32
CHUNK_BYTES = 1 << 20
_PART = r"[0-9A-Za-z_-][0-9A-Za-z._-]*"
_NAME = re.compile(rf"{_PART}(/{_PART})*", re.ASCII)
_MAX_NAME = 512


@dataclass(frozen=True, slots=True)
class Found:
    """An object. modified_at : seconds since 1970, when it was written or renewed"""

    name: str
    n_bytes: int
    modified_at: float


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


class Objects(Protocol):
    """Bytes by their name. Every method raises OSError, and NameInvalid for what is no name."""

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        """Whole or not at all; it replaces what was there."""
        ...

    def stream(self, name: str) -> Iterator[bytes]:
        """The bytes in order, unchecked. Raises FileNotFoundError when there are none."""
        ...

    def find(self, name: str) -> Found | None:
        """What lies under the name."""
        ...

    def find_all(self, prefix: str) -> Iterator[Found]:
        """All objects whose names begin with the prefix, which ends with `/`.

        What others have put there under no name is none: nobody could ask for it, or delete it.
        """
        ...

    def measure(self, prefix: str) -> int:
        """Bytes under the prefix, with those of objects that are being written where it shows."""
        ...

    def renew(self, name: str) -> bool:
        """Lets its age begin anew; False where only another `write` does that."""
        ...

    def delete(self, name: str) -> None:
        """Nothing is there from now on."""
        ...

    def delete_all(self, prefix: str) -> None:
        """Nothing is there under the prefix from now on."""
        ...

    def holding(self, prefix: str) -> AbstractContextManager[None]:
        """Meanwhile, `list_abandoned` of any process leaves this prefix `a/b/` out."""
        ...

    def list_abandoned(self, prefix: str) -> list[str]:
        """Parts that follow the prefix, `b` of `a/b/`, which no living process holds."""
        ...

    def sweep(self, prefix: str) -> int:
        """Deletes what writers have left that were killed; of how many objects."""
        ...

    def local_path(self, name: str) -> Path | None:
        """The file that holds the bytes as they are; None where there is none."""
        ...


class Shared(Objects, Protocol):
    """Public objects: read in parts as well, and made by the first of several writers."""

    def create(self, name: str, raw: bytes) -> bool:
        """Writes an object unless there is one: of all writers the first wins, the others get
        False."""
        ...

    def read_part(self, name: str, start: int, length: int) -> tuple[int, bytes]:
        """Size of the object and these bytes of it, unchecked. Raises FileNotFoundError."""
        ...


def is_name(name: str) -> bool:
    """Whether an object may have it."""
    return len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def require_name(name: str) -> str:
    """The name, or NameInvalid."""
    if not is_name(name):
        raise NameInvalid
    return name


def require_prefix(prefix: str) -> str:
    """The name of a folder, without the `/` at its end, or NameInvalid."""
    if not prefix.endswith("/"):
        raise NameInvalid
    return require_name(prefix[:-1])
