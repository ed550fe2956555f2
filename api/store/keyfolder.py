"""The keys of a service on disk: each of them whole or not there, all together within a limit.

    DATA_DIR/keys.lock                   held while room for a new key is looked for
    DATA_DIR/keys/<sha256 of circuit.json>/
        circuit.json, proving.key, verifying.key                      the last one makes it whole
        lock     held by who makes the key; holds the bytes that it may take
        making/  its parts until all are there
        draft/   likewise, of a key that other machines have to agree to (`sharedkeys`)

The folder's name is the key's whole identity here: circuit, samples and multipliers. A key in
another folder than its own is none of the service's. A whole key is never changed or deleted here:
proofs made under it must stay verifiable. What lies in `making` belongs to who holds the lock; when
nobody does, its maker was killed.

With a store that machines share, the folder holds copies: what is not the store's key of its
circuit is replaced, and a new key comes here when the store has taken it.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from api.errors import KeysFull
from api.store.sharedkeys import SharedKeys
from consensus.errors import StoreFailed
from prover.errors import KeyMismatch
from prover.keys.card import MAX_CARD_BYTES, Card, KeyCard
from prover.keys.folder import CARD_NAME, VERIFYING_NAME
from prover.keys.folder import load_half as load_any_half
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.progress import StageProgress

LOCK, MAKING, DRAFT = "lock", "making", "draft"
_LOCK_PAUSE_S = 0.5
_MIB = 1 << 20
_TRAINING = (StepCard, ExportCard)
C = TypeVar("C", bound=Card)


class KeyFolder:
    """Keys by the digest of their card, for all workers that share the folder."""

    def __init__(
        self,
        directory: Path,
        *,
        limit_bytes: int | None = None,
        shared: SharedKeys | None = None,
    ) -> None:
        """limit_bytes : of all keys, made here or not; None: the disk's

        shared : where all machines have their keys from
        """
        self._directory, self._limit, self._shared = directory, limit_bytes, shared

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
        if self._is_there(folder):
            return folder
        if self._shared is None:  # else the store may have it
            self._require_room(folder, n_bytes)  # or it would leave an empty folder each time
        folder.mkdir(parents=True, exist_ok=True)
        with _hold(folder / LOCK, report) as lock:
            _mend(folder)
            if not self._is_there(folder):
                try:
                    if self._shared is None:
                        self._reserve(folder, lock, n_bytes, report)
                        make(folder / MAKING)
                    else:
                        self._agree(folder, lock, n_bytes, make, report)
                finally:
                    _mend(folder)
                    _write(lock, "")
        return folder

    def _is_there(self, folder: Path) -> bool:
        if self._shared is None:
            return _is_whole(folder)
        return self._shared.is_here(folder.name, folder)

    def _reserve(self, folder: Path, lock: BinaryIO, n_bytes: int, report: StageProgress) -> None:
        """Raises KeysFull, OSError, and what `report` raises."""
        with _hold(self._directory.with_name(self._directory.name + ".lock"), report):
            self._require_room(folder, n_bytes)
            _write(lock, str(n_bytes))

    def _agree(
        self,
        folder: Path,
        lock: BinaryIO,
        n_bytes: int,
        make: Callable[[Path], None],
        report: StageProgress,
    ) -> None:
        """Brings the key of the store into `making`, or makes the one that the store takes.

        A key that nobody agreed to stays a draft: whoever proved under it would be alone.
        """
        assert self._shared is not None
        making, draft = folder / MAKING, folder / DRAFT
        (folder / VERIFYING_NAME).unlink(missing_ok=True)  # of another key than the store's
        if self._shared.fetch(folder.name, making, report):
            return
        self._reserve(folder, lock, n_bytes, report)
        make(draft)
        if self._shared.publish(folder.name, draft, report):
            draft.replace(making)
        elif not self._shared.fetch(folder.name, making, report):
            raise StoreFailed(
                folder.name, "lost the key of a circuit while workers took it", "submit again"
            )

    def sweep(self) -> int:
        """Deletes, or puts in place, what makers that were killed have left; of how many keys."""
        n = 0
        for name in (MAKING, DRAFT):
            n += sum(self._sweep_one(left) for left in self._directory.glob(f"*/{name}"))
        return n + (self._shared.sweep() if self._shared is not None else 0)

    def _sweep_one(self, making: Path) -> bool:
        try:
            with (making.parent / LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _mend(making.parent)
                _write(lock, "")
        except (FileNotFoundError, BlockingIOError):
            return False  # no maker's folder, or its maker lives
        return True

    def _require_room(self, folder: Path, n_bytes: int) -> None:
        if self._limit is None:
            return
        others = (other for other in self._directory.glob("*") if other != folder)
        used = sum(map(_measure, others)) if self._shared is None else self._shared.measure()
        if used + n_bytes > self._limit:
            raise KeysFull(n_bytes=n_bytes, used=used, limit=self._limit)


def load_half(folder: Path) -> tuple[VerifyingKey, KeyCard]:
    """The verifying half of a key of accuracy. Raises as `load_half_of`."""
    return load_half_of(folder, KeyCard)


def load_half_of(folder: Path, kind: type[C]) -> tuple[VerifyingKey, C]:
    """The verifying half of a key of the service, whose circuit is of the kind of this card.

    A key is found by its folder's name, so one that was put into another's folder is refused.
    Raises FormatError, KeyMismatch, OSError.
    """
    verifying, card = load_any_half(folder, kind)
    if card.digest.hex() != folder.name:
        raise KeyMismatch(
            "the key lies in the folder of another circuit",
            next_step=f"rename the folder to the sha256 of its circuit.json, {card.digest.hex()}",
        )
    return verifying, card


def load_half_of_any(folder: Path) -> tuple[VerifyingKey, Card]:
    """Likewise, of whatever kind of circuit the service proves. Raises as `load_half_of`."""
    return load_half_of(folder, _find_kind(folder))


def _find_kind(folder: Path) -> type[Card]:
    """By the field that cards of one kind alone have; who reads what is none refuses it."""
    try:
        with (folder / CARD_NAME).open("rb") as file:
            raw = file.read(MAX_CARD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raw = b""
    return next((kind for kind in _TRAINING if f'"{kind.FIELD}":'.encode() in raw), KeyCard)


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
    for left in (making, folder / DRAFT):
        if left.exists():
            shutil.rmtree(left)


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
