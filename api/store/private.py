"""Private files of jobs: the witness of one, the blinding that the tasks of one share.

    DATA_DIR/private/<name>/<part>      mode 0600 in folders of mode 0700
    DATA_DIR/identity.key               of `identify`, likewise

A name is random and belongs to one run of one job. The queue takes it over in the step in which the
job starts, or first needs it, and gives it up in the step in which the job ends, however it ends;
what was given up is deleted by whoever calls the queue next (`clear`). Until the queue has it, its
writer holds a lock, which ends with the writer: so a sweep tells what a killed one has left.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from redis.exceptions import RedisError

from api.errors import PrivateGone
from kernels.files import PRIVATE, replacing
from kernels.private_folder import make_private_folder

if TYPE_CHECKING:
    from api.queue.queue import JobQueue

_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)
_LOCK, _KEY = ".lock", "identity.key"
_LOCKED_AFTER_S = 60.0
"""A folder that is older than this has been locked by its writer, if that lives."""
_CHUNK, _BATCH = 1 << 20, 64


class PrivatePart(StrEnum):
    WITNESS = "witness"
    BLINDING = "blinding"


class PrivateFolder:
    """Files for a job that the queue has not taken over yet."""

    def __init__(self, path: Path) -> None:
        self._path, self.is_kept = path, False

    @property
    def name(self) -> str:
        return self._path.name

    def write(self, part: PrivatePart, source: BinaryIO) -> None:
        """From the start of a file that can seek. Raises OSError."""
        source.seek(0)
        with replacing(self._path / part.value, mode=PRIVATE) as stream:
            shutil.copyfileobj(source, stream, _CHUNK)

    def keep(self) -> None:
        """The queue has taken it over: from now on it goes with the job."""
        self.is_kept = True


class PrivateFiles:
    """Of all jobs, under a folder that all processes of the service share."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "private"

    @contextmanager
    def new(self) -> Iterator[PrivateFolder]:
        """A folder, deleted with the end of this unless it is kept. Raises OSError.

        When the server breaks off nobody knows whether it has taken the folder over: then the
        sweep asks it.
        """
        make_private_folder(self._folder)
        path = self._folder / secrets.token_hex(16)
        path.mkdir(mode=0o700)
        folder = PrivateFolder(path)
        with _create(path / _LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
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

        HMAC-SHA256 under a key of the data directory, from the start of a file that can seek. It
        stands in the queue, where a plain digest would let every reader try values.
        """
        found = hmac.new(self._load_key(), digestmod="sha256")
        source.seek(0)
        while chunk := source.read(_CHUNK):
            found.update(chunk)
        return found.hexdigest()

    def _load_key(self) -> bytes:
        """32 random bytes, made by whoever needs them first."""
        path = self._folder.parent / _KEY
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{secrets.token_hex(16)}")
            try:
                with _create(draft) as stream:
                    stream.write(secrets.token_bytes(32))
                    stream.flush()
                    os.fsync(stream.fileno())
                with suppress(FileExistsError):  # another process was faster
                    path.hardlink_to(draft)
            finally:
                draft.unlink(missing_ok=True)
        return path.read_bytes()

    def get_path(self, name: str, part: PrivatePart) -> Path:
        """Where a file is that the queue has taken over. Raises PrivateGone."""
        path = self._folder / name / part.value
        if not _NAME.fullmatch(name) or not path.is_file():
            raise PrivateGone(part)
        return path

    def read(self, name: str, part: PrivatePart) -> bytes:
        """Raises PrivateGone, OSError."""
        try:
            return self.get_path(name, part).read_bytes()
        except FileNotFoundError:
            raise PrivateGone(part) from None

    def delete(self, name: str) -> None:
        """Deletes a folder if it is there. Raises OSError."""
        if _NAME.fullmatch(name):
            with suppress(FileNotFoundError):  # another one was faster
                shutil.rmtree(self._folder / name)

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
        left = [path for path in self._folder.glob("*") if self._is_left(path, queue)]
        for path in left:
            self.delete(path.name)
        return len(left)

    def measure(self) -> int:
        """Bytes of all files."""
        return sum(_size(path) for path in self._folder.glob("*/*"))

    def _is_left(self, path: Path, queue: JobQueue) -> bool:
        try:
            with (path / _LOCK).open("rb+") as lock:  # for writing, as network file systems demand
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except FileNotFoundError:
            if _age_s(path) < _LOCKED_AFTER_S:
                return False
        # After the lock: who held it has asked the queue to take the folder over by now.
        return not queue.redis.hexists(queue.prefix + "private-folders", path.name)


def _create(path: Path) -> BinaryIO:
    """A new file with mode 0600. Raises OSError."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its job has ended meanwhile
        return 0
