"""Objects in a folder, which processes share: one file each, of mode 0600 in folders of mode 0700.

    ROOT/<name>             whole: renamed into place when its bytes are on the disk
    ROOT/<folder>/.*        under way: its writer holds a lock on it, which ends with the writer
    ROOT/<prefix>/.lock     held by whoever holds the prefix

On several machines the folder is a network file system whose locks work; else take `s3`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from consensus.content.interface import (
    CHUNK_BYTES,
    Found,
    is_name,
    require_name,
    require_prefix,
)
from consensus.errors import NoFile
from kernels.files import PRIVATE, Chunk, replacing, sync_folder, write_whole
from kernels.private_folder import check_private_folder

_LOCK = ".lock"
_LOCKED_AFTER_S = 60.0
"""What is older than this has been locked by its writer, if that lives."""


class FolderObjects:
    """Objects under a folder, see `consensus.content.interface.Shared`."""

    def __init__(
        self,
        root: Path,
        *,
        is_private: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """is_private : refuse folders below the root that other users could write to. OSError"""
        self._root, self._is_private, self._clock = root, is_private, clock

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        path = self._prepare(name)
        with replacing(path, mode=PRIVATE) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            self._touch(stream.fileno())

    def create(self, name: str, raw: bytes) -> bool:
        path = self._prepare(name)
        draft = path.with_name(f".{secrets.token_hex(16)}")
        try:
            write_whole(draft, [raw], mode=PRIVATE)
            path.hardlink_to(draft)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True

    def stream(self, name: str) -> Iterator[bytes]:
        with self._open(name) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def read_part(self, name: str, start: int, length: int) -> tuple[int, bytes]:
        with self._open(name) as file:
            file.seek(start)
            return os.fstat(file.fileno()).st_size, file.read(length)

    def find(self, name: str) -> Found | None:
        return self._find(self._path(name))

    def find_all(self, prefix: str) -> Iterator[Found]:
        for path in self._walk(prefix):
            found = self._find(path)
            if found is not None and is_name(found.name):
                yield found

    def measure(self, prefix: str) -> int:
        return sum(found.n_bytes for path in self._walk(prefix) if (found := self._find(path)))

    def renew(self, name: str) -> bool:
        self._touch(self._path(name))
        return True

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def delete_all(self, prefix: str) -> None:
        with suppress(FileNotFoundError):  # another one was faster
            shutil.rmtree(self._root / require_prefix(prefix))

    @contextmanager
    def holding(self, prefix: str) -> Iterator[None]:
        require_prefix(prefix)
        self._make_folders(prefix)
        draft = self._root / prefix / f".{secrets.token_hex(16)}"
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            draft.rename(draft.with_name(_LOCK))  # a lock that is not held yet is seen by nobody
            yield

    def list_abandoned(self, prefix: str) -> list[str]:
        folder = self._root / require_prefix(prefix)
        found = (path for path in folder.glob("*") if is_name(path.name) and path.is_dir())
        return [path.name for path in found if self._is_left(path)]

    def sweep(self, prefix: str) -> int:
        left = [path for path in self._walk(prefix) if self._is_orphan(path)]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def local_path(self, name: str) -> Path | None:
        return self._path(name)

    def _open(self, name: str) -> BinaryIO:
        """Raises NoFile; nothing is waited for, as others may write to the folder. OSError."""
        path = self._path(name)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NoFile(path)
        return os.fdopen(descriptor, "rb")

    def _path(self, name: str) -> Path:
        return self._root / require_name(name)

    def _prepare(self, name: str) -> Path:
        """Where the object will be; its folders are there."""
        path = self._path(name)
        self._make_folders(name.rpartition("/")[0])
        return path

    def _make_folders(self, name: str) -> None:
        folder = self._root
        folder.mkdir(parents=True, exist_ok=True)
        for part in Path(name).parts:
            inner = folder / part
            with suppress(FileExistsError):
                inner.mkdir(mode=0o700)
                sync_folder(folder)  # or a crash could lose the new folder, and what is in it
            if self._is_private:
                check_private_folder(inner)
            folder = inner

    def _touch(self, path: Path | int) -> None:
        now = self._clock()
        os.utime(path, (now, now))

    def _find(self, path: Path) -> Found | None:
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):  # gone meanwhile
            return None
        name = path.relative_to(self._root).as_posix()
        return Found(name, status.st_size, status.st_mtime)

    def _walk(self, prefix: str) -> Iterator[Path]:
        for folder, _, names in os.walk(self._root / require_prefix(prefix)):
            yield from (Path(folder, name) for name in names)

    def _is_left(self, folder: Path) -> bool:
        try:
            with (folder / _LOCK).open("rb+") as lock:  # for writing, as network file systems ask
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except FileNotFoundError:
            return self._is_old(folder)
        return True

    def _is_orphan(self, path: Path) -> bool:
        """A file under way that nobody writes any more."""
        if not path.name.startswith(".") or not self._is_old(path):
            return False
        try:
            with path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False
        return True

    def _is_old(self, path: Path) -> bool:
        found = self._find(path)
        return found is not None and found.modified_at + _LOCKED_AFTER_S < self._clock()
