"""Files of records that a crash can only cut short: what `consensus.disk.ledger` is made of.

    record = length | CRC-32 of these 4 bytes | CRC-32 of the payload | payload
             each number 4 bytes little-endian; a length of its own that is wrong is told from a
             payload that was not all written

A crash can tear the last record: what is left of it is cut off, and said. Damage before the end is
no crash; it is refused. Of a file only the places of its records stay in memory.
"""

from __future__ import annotations

import os
import zlib
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from consensus.errors import LedgerError
from kernels.files import sync_folder

HEAD_BYTES = 12
_CHUNK_BYTES = 1 << 20


@dataclass(slots=True)
class Places:
    """Where the records of a file lie.

    ends    : the byte behind each
    n_torn  : bytes of a torn one behind them
    """

    ends: array[int] = field(default_factory=lambda: array("Q"))
    n_torn: int = 0

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def n_bytes(self) -> int:
        """Length of the whole records."""
        return self.ends[-1] if self.ends else 0

    def begin(self, index: int) -> int:
        """The byte at which a record begins."""
        return self.ends[index - 1] if index else 0


def scan(file: BinaryIO, path: Path, next_step: str) -> Places:
    """Finds the records of a file that may end in a torn one, and checks them.

    path, next_step : for the error. Raises LedgerError, OSError. Costs one reading of the file.
    """
    size = os.fstat(file.fileno()).st_size
    places = Places()
    file.seek(0)
    at = 0
    while at < size:
        head = file.read(HEAD_BYTES)
        end = at + HEAD_BYTES + int.from_bytes(head[:4], "little")
        payload = b"" if end > size else file.read(end - at - HEAD_BYTES)
        if end > size or head != make_head(payload):
            if not _is_torn(file, at, size):
                what = f"the record at byte {at} is damaged"
                raise LedgerError(path, what, next_step)
            places.n_torn = size - at
            break
        places.ends.append(end)
        at = end
    return places


def make_head(payload: bytes) -> bytes:
    """What stands before this payload."""
    length = len(payload).to_bytes(4, "little")
    return b"".join((length, _checksum(length), _checksum(payload)))


def _checksum(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(4, "little")


def _is_torn(file: BinaryIO, at: int, size: int) -> bool:
    """Whether a crash while the last record was written explains what is there.

    A part of its head is there, or its head and a part of the payload; or the file had grown before
    all was written, which leaves zeros. A wrong record with others behind it is damage.
    """
    file.seek(at)
    head = file.read(HEAD_BYTES)
    end = at + HEAD_BYTES + int.from_bytes(head[:4], "little")
    knows_length = _checksum(head[:4]) == head[4:8]
    if knows_length and end >= size:
        return True
    while chunk := file.read(_CHUNK_BYTES):
        if chunk.count(0) != len(chunk):
            return False
    return True


def read_record(descriptor: int, places: Places, index: int, path: Path, next_step: str) -> bytes:
    """The payload of a record that `scan` has found, checked again. Raises LedgerError, OSError."""
    begin, end = places.begin(index), places.ends[index]
    raw = os.pread(descriptor, end - begin, begin)
    payload = raw[HEAD_BYTES:]
    if raw[:HEAD_BYTES] != make_head(payload):
        raise LedgerError(path, f"the record at byte {begin} is damaged", next_step)
    return payload


class Log:
    """An append-only file of records, open for its one writer."""

    def __init__(self, path: Path, next_step: str) -> None:
        """Cuts a torn record off. next_step : what to do when it is damaged

        Raises LedgerError, OSError.
        """
        self.path, self._next_step = path, next_step
        is_new = not path.exists()
        self._stream: BinaryIO = path.open("a+b", buffering=0)
        try:
            self._places = scan_unbuffered(path, next_step)
            self.n_torn = self._places.n_torn
            if is_new:
                sync_folder(path.parent)  # or a crash could lose the file, and what is in it
            if self.n_torn:
                self._stream.truncate(self._places.n_bytes)
                os.fsync(self._stream.fileno())
        except BaseException:
            self._stream.close()
            raise

    def __len__(self) -> int:
        return len(self._places)

    @property
    def places(self) -> Places:
        """Where its records lie."""
        return self._places

    def read(self, index: int) -> bytes:
        """The payload of a record. Raises LedgerError, OSError."""
        return read_record(self._stream.fileno(), self._places, index, self.path, self._next_step)

    def append(self, payload: bytes) -> None:
        """Returns when the record is on disk. Raises OSError; then nothing of it is left."""
        before = os.fstat(self._stream.fileno()).st_size
        record = make_head(payload) + payload
        try:
            if self._stream.write(record) != len(record):
                raise OSError("the disk took a part of a record")
            os.fsync(self._stream.fileno())
        except OSError:
            self._stream.truncate(before)
            raise
        self._places.ends.append(before + len(record))

    def clear(self) -> None:
        """Empties the file."""
        if len(self._places):
            self._stream.truncate(0)
            os.fsync(self._stream.fileno())
            self._places = Places()

    def close(self) -> None:
        self._stream.close()


def scan_unbuffered(path: Path, next_step: str) -> Places:
    """`scan` of the file at this path, through a buffer of its own."""
    with path.open("rb") as file:
        return scan(file, path, next_step)
