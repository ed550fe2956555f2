"""What a node keeps on disk: final blocks, and the log of its own votes. Nothing else binds it.

    HOME/blocks.log   FinalBlock after FinalBlock, each synchronized before the next height begins
    HOME/votes.log    own votes and proposals of the height under way with their grounds, each
                      synchronized before it leaves; emptied when the height is final
    HOME/lock         held while a process uses the folder: two would sign different votes

    record = length | CRC-32 of these 4 bytes | CRC-32 of the payload | payload
             each number 4 bytes little-endian; a length of its own that is wrong is told from a
             payload that was not all written

A crash can tear the last record: what is left of it is cut off, and said. Damage before the end is
no crash; it is refused, since a node that forgets its votes could sign different ones.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from consensus.events import ConsensusMessage
from consensus.messages import FinalBlock, Proposal, Vote

BLOCKS, VOTES, LOCK = "blocks.log", "votes.log", "lock"
_HEAD_BYTES = 12


class LedgerError(Exception):
    """The folder cannot be used. what : the trouble; next_step : what to do about it"""

    def __init__(self, path: Path, what: str, next_step: str) -> None:
        self.path, self.what, self.next_step = path, what, next_step
        super().__init__(f"{path}: {what}; {next_step}")


@dataclass(frozen=True, slots=True)
class Found:
    """What a log holds: payloads, the length of the whole records, and bytes of a torn one."""

    payloads: Sequence[bytes]
    n_bytes: int
    n_torn: int


def read_records(path: Path) -> Found:
    """The records of a log that may end in a torn one. Raises LedgerError, OSError."""
    raw = path.read_bytes() if path.exists() else b""
    payloads: list[bytes] = []
    at = 0
    while at < len(raw):
        start = at + _HEAD_BYTES
        end = start + int.from_bytes(raw[at : at + 4], "little")
        payload = raw[start:end]
        if raw[at:start] != _make_head(payload):
            if not _is_torn(raw, at, end):
                raise LedgerError(
                    path,
                    f"the record at byte {at} is damaged",
                    "restore the folder from a copy; never delete votes.log of a validator",
                )
            return Found(payloads, at, len(raw) - at)
        payloads.append(payload)
        at = end
    return Found(payloads, at, 0)


def _make_head(payload: bytes) -> bytes:
    """What stands before this payload."""
    length = len(payload).to_bytes(4, "little")
    return b"".join((length, _checksum(length), _checksum(payload)))


def _checksum(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(4, "little")


def _is_torn(raw: bytes, at: int, end: int) -> bool:
    """Whether a crash while the last record was written explains what is there.

    A part of its head is there, or its head and a part of the payload; or the file had grown before
    all was written, which leaves zeros. A wrong record with others behind it is damage.
    """
    start = at + _HEAD_BYTES
    if not any(raw[start:]):
        return True
    knows_length = _checksum(raw[at : at + 4]) == raw[at + 4 : at + 8]
    return knows_length and end >= len(raw)


class Log:
    """An append-only file of records."""

    def __init__(self, path: Path) -> None:
        """Cuts a torn record off. Raises LedgerError, OSError."""
        found = read_records(path)
        self.payloads = found.payloads
        self.n_torn = found.n_torn
        is_new = not path.exists()
        self._stream: BinaryIO = path.open("ab", buffering=0)
        try:
            if is_new:
                _sync_folder(path.parent)  # or a crash could lose the file, and what is in it
            if found.n_torn:
                self._stream.truncate(found.n_bytes)
                os.fsync(self._stream.fileno())
        except OSError:
            self._stream.close()
            raise

    def append(self, payload: bytes) -> None:
        """Returns when the record is on disk. Raises OSError; then nothing of it is left."""
        before = os.fstat(self._stream.fileno()).st_size
        record = _make_head(payload) + payload
        try:
            if self._stream.write(record) != len(record):
                raise OSError("the disk took a part of a record")
            os.fsync(self._stream.fileno())
        except OSError:
            self._stream.truncate(before)
            raise

    def clear(self) -> None:
        """Empties the file."""
        self._stream.truncate(0)
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Ledger:
    """The folder of one node, for one process."""

    def __init__(self, home: Path) -> None:
        """Raises LedgerError, OSError."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (home / LOCK).open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise LedgerError(
                home, "another node uses this folder", "stop it, or name another folder"
            ) from None
        with ExitStack() as opened:
            opened.callback(self._lock.close)
            self._blocks = opened.enter_context(closing(Log(home / BLOCKS)))
            self._votes = opened.enter_context(closing(Log(home / VOTES)))
            self._finals = list(_decode_finals(self._blocks.payloads, home / BLOCKS))
            self.own_votes = _decode_votes(self._votes.payloads, home / VOTES)
            self.n_torn = self._blocks.n_torn + self._votes.n_torn
            self._opened = opened.pop_all()  # nothing was wrong: it stays open

    @property
    def height(self) -> int:
        return len(self._finals)

    def get(self, height: int) -> FinalBlock | None:
        """The final block of a height."""
        return self._finals[height - 1] if 1 <= height <= self.height else None

    def list_finals(self, first: int = 1, limit: int | None = None) -> Sequence[FinalBlock]:
        """Final blocks from a height on."""
        end = None if limit is None else first - 1 + limit
        return self._finals[first - 1 : end]

    def record_vote(
        self, message: Vote | Proposal, grounds: Sequence[ConsensusMessage] = ()
    ) -> None:
        """Before the message leaves. Raises OSError: then it must not leave."""
        for part in (*grounds, message):
            self._votes.append(part.encode())

    def append(self, final: FinalBlock) -> None:
        """The next final block; the votes of its height are done with. Raises OSError."""
        if final.block.height != self.height + 1:
            raise ValueError(f"block {final.block.height} after height {self.height}")
        self._blocks.append(final.encode())
        self._finals.append(final)
        self._votes.clear()

    def close(self) -> None:
        self._opened.close()


def read_finals(home: Path) -> Sequence[FinalBlock]:
    """The final blocks in a folder that a node may be writing to, or in a copy of its blocks.log.

    Raises LedgerError, OSError.
    """
    path = home / BLOCKS if home.is_dir() else home
    return list(_decode_finals(read_records(path).payloads, path))


def _decode_finals(payloads: Sequence[bytes], path: Path) -> Iterator[FinalBlock]:
    parent: bytes | None = None
    for index, payload in enumerate(payloads):
        final = FinalBlock.decode(payload)
        follows = final is not None and final.block.height == index + 1
        if final is None or not follows or parent not in (None, final.block.parent):
            raise LedgerError(path, f"record {index} is not block {index + 1}", "restore a copy")
        parent = final.block.hash
        yield final


def _decode_votes(payloads: Sequence[bytes], path: Path) -> tuple[Vote | Proposal, ...]:
    found: list[Vote | Proposal] = []
    for index, payload in enumerate(payloads):
        message = Vote.decode(payload) or Proposal.decode(payload)
        if message is None:
            raise LedgerError(path, f"record {index} is no vote", "restore a copy")
        found.append(message)
    return tuple(found)
