"""The keys of a service on disk: each of them whole or not there, all together within a limit.

    DATA_DIR/keys.lock                   held while room for a new key is looked for
    DATA_DIR/keys/<sha256 of circuit.json>/
        circuit.json, proving.key, commitment.key, verifying.key      the last one makes it whole
        lock     held by who makes the key; holds the bytes that it may take
        making/  its parts until all are there

The folder's name is the key's whole identity here: circuit, samples and multipliers. A key in
another folder than its own is none of the service's. A whole key is never changed or deleted here:
proofs made under it must stay verifiable. What lies in `making` belongs to who holds the lock; when
nobody does, its maker was killed.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from api.errors import KeysFull
from prover.errors import KeyMismatch
from prover.keys.card import KeyCard
from prover.keys.folder import VERIFYING_NAME, load_verifying_half
from prover.keys.halves import VerifyingKey
from prover.progress import StageProgress

LOCK, MAKING = "lock", "making"
_LOCK_PAUSE_S = 0.5
_MIB = 1 << 20


class KeyFolder:
    """Keys by the digest of their card, for all workers that share the folder."""

    def __init__(self, directory: Path, *, limit_bytes: int | None = None) -> None:
        """limit_bytes : of all keys, made here or not; None: the disk's"""
        self._directory, self._limit = directory, limit_bytes

    def require(
        self, digest: bytes, n_bytes: int, make: Callable[[Path], None], report: StageProgress
    ) -> Path:
        """The folder of a whole key, made when there is none yet.

        n_bytes : the most that a new key takes
        make    : writes all parts into the folder it is given, verifying.key as the last one
        report  : hears of waits for another maker, and may end them by raising: it may be frozen
        Raises KeysFull, OSError, and what `make` and `report` raise.
        """
        folder = self._directory / digest.hex()
        if _is_whole(folder):
            return folder
        self._require_room(folder, n_bytes)  # or it would leave an empty folder each time
        folder.mkdir(parents=True, exist_ok=True)
        with _hold(folder / LOCK, report) as lock:
            _mend(folder)
            if not _is_whole(folder):
                with _hold(self._directory.with_name(self._directory.name + ".lock"), report):
                    self._require_room(folder, n_bytes)
                    _write(lock, str(n_bytes))
                try:
                    make(folder / MAKING)
                finally:
                    _mend(folder)
                    _write(lock, "")
        return folder

    def sweep(self) -> int:
        """Deletes, or puts in place, what makers that were killed have left; of how many keys."""
        n = 0
        for making in self._directory.glob(f"*/{MAKING}"):
            try:
                with (making.parent / LOCK).open("r+b") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _mend(making.parent)
                    _write(lock, "")
                    n += 1
            except (FileNotFoundError, BlockingIOError):
                continue  # no maker's folder, or its maker lives
        return n

    def _require_room(self, folder: Path, n_bytes: int) -> None:
        if self._limit is None:
            return
        used = sum(_measure(other) for other in self._directory.glob("*") if other != folder)
        if used + n_bytes > self._limit:
            raise KeysFull(n_bytes=n_bytes, used=used, limit=self._limit)


def load_half(folder: Path) -> tuple[VerifyingKey, KeyCard]:
    """The verifying half of a key of the service. Raises FormatError, KeyMismatch, OSError.

    A key is found by its folder's name, so one that was put into another's folder is refused.
    """
    verifying, card = load_verifying_half(folder)
    if card.digest.hex() != folder.name:
        raise KeyMismatch(
            "the key lies in the folder of another circuit",
            next_step=f"rename the folder to the sha256 of its circuit.json, {card.digest.hex()}",
        )
    return verifying, card


def _is_whole(folder: Path) -> bool:
    return (folder / VERIFYING_NAME).exists()


def _mend(folder: Path) -> None:
    """Puts a key in place whose parts are all there, and deletes other parts. Needs the lock.

    Parts move before verifying.key does, so an end in the middle of it is mended the next time.
    """
    making = folder / MAKING
    if _is_whole(making) and not _is_whole(folder):
        for part in sorted(making.iterdir(), key=lambda part: part.name == VERIFYING_NAME):
            part.replace(folder / part.name)
    if making.exists():
        shutil.rmtree(making)


def _measure(folder: Path) -> int:
    """Bytes that a key takes, or may take once it is made."""
    n_bytes = sum(_size(path) for path in folder.rglob("*"))
    try:
        with (folder / LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return max(n_bytes, int(lock.read() or b"0"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass  # a key that was put here
    return n_bytes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # moved meanwhile
        return 0


@contextmanager
def _hold(path: Path, report: StageProgress) -> Iterator[BinaryIO]:
    """The lock on a file. Meanwhile `report` may end the work: who holds it may be frozen."""
    with path.open("a+b") as lock:
        while True:
            report("wait for key", 0, 1)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_S)
            else:
                report("wait for key", 1, 1)
                break
        yield lock


def _write(lock: BinaryIO, text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text.encode("ascii"))
    lock.flush()
