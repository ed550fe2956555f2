"""The state of a chain at a height, with the block after it: where a node starts without the rest.

    file = `zkpotsnp` | version, 2 bytes | field list: state, FinalBlock

The block's `state_root` is the digest of the state, and 2f + 1 validators of the genesis signed the
block: whoever trusts the genesis can take the state from anybody. What differs in one bit is
refused. A folder of a node holds one for every `SPAN` blocks, `snapshot-HEIGHT.zks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from consensus.agreement.authentication import authenticate
from consensus.errors import SnapshotInvalid
from consensus.learning.chain import find_fault
from consensus.learning.chain_state import ChainState
from consensus.wire.genesis import Genesis
from consensus.wire.gossip_messages import MAX_STATE_BYTES
from consensus.wire.messages import FinalBlock
from kernels.files import PRIVATE, write_whole
from prover.errors import FieldInvalid
from prover.wire.kinds import Bytes
from prover.wire.records import Record, header

SPAN = 256
"""Blocks from one snapshot of a ledger to the next, and in a file of blocks."""
MAX_SNAPSHOT_BYTES = MAX_STATE_BYTES + FinalBlock.MAX_BYTES + 64
_PREFIX, _SUFFIX = "snapshot-", ".zks"


@dataclass(frozen=True, slots=True, kw_only=True)
class _File(Record):
    """The two parts of a snapshot, of which nothing is checked yet."""

    HEADER: ClassVar[bytes] = header(b"zkpotsnp", 1)
    MAX_BYTES: ClassVar[int] = MAX_SNAPSHOT_BYTES
    state: Annotated[bytes, Bytes(0, MAX_STATE_BYTES)]
    final: FinalBlock


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state that is pinned. final : the block after it"""

    state: ChainState
    final: FinalBlock

    @property
    def height(self) -> int:
        """Height of the last block that is in the state."""
        return self.state.height

    def encode(self) -> bytes:
        """The file's bytes."""
        return _File(state=self.state.encode(), final=self.final).encode()

    @classmethod
    def decode(cls, raw: bytes, genesis: Genesis) -> Snapshot:
        """Inverse of `encode`, checked under the genesis. Raises SnapshotInvalid for all else.

        Costs the signatures of one certificate; the state is looked at only when they hold.
        """
        try:
            file = _File.parse(raw)
        except FieldInvalid as error:
            raise SnapshotInvalid(f"it is none of this version: {error}") from None
        return cls.check(file.state, file.final, genesis)

    @classmethod
    def check(cls, raw_state: bytes, final: FinalBlock, genesis: Genesis) -> Snapshot:
        """A snapshot of a state's bytes and the block that should name them. Raises
        SnapshotInvalid.
        """
        fault = authenticate(final, genesis)
        _require(fault is None, f"the block after it is not final on this chain: {fault}")
        pinned = hashlib.sha256(raw_state).digest() == final.block.state_root
        _require(pinned, "its state is not the one that the block after it names")
        state = ChainState.decode(raw_state, genesis)
        if state is None:
            raise SnapshotInvalid("its state is of another genesis, or malformed")
        fault = find_fault(state, final.block)
        _require(fault is None, f"the block after it does not follow: {fault}")
        return cls(state, final)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise SnapshotInvalid(what)


# -- in a node's folder ----------------------------------------------------------------------------


def save_snapshot(home: Path, snapshot: Snapshot) -> Path:
    """Into the folder; returns when it is on disk. Raises OSError."""
    path = home / f"{_PREFIX}{snapshot.height:012d}{_SUFFIX}"
    write_whole(path, [snapshot.encode()], mode=PRIVATE)
    return path


def load_snapshot(path: Path, genesis: Genesis) -> Snapshot:
    """A snapshot's file. Raises SnapshotInvalid, OSError."""
    with path.open("rb") as file:
        return Snapshot.decode(file.read(MAX_SNAPSHOT_BYTES + 1), genesis)


def list_snapshots(home: Path) -> list[tuple[int, Path]]:
    """Heights and files of what the folder holds, ascending; nothing is read."""
    found = []
    for path in home.glob(f"{_PREFIX}*{_SUFFIX}"):
        digits = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        if len(digits) == 12 and digits.isascii() and digits.isdigit():
            found.append((int(digits), path))
    return sorted(found)


def find_snapshots(home: Path, genesis: Genesis, *, newest_first: bool) -> Iterator[Snapshot]:
    """The folder's snapshots that hold, by height; what does not hold is passed over."""
    for height, path in sorted(list_snapshots(home), reverse=newest_first):
        try:
            snapshot = load_snapshot(path, genesis)
        except (SnapshotInvalid, FileNotFoundError):
            continue  # another one will do, or the blocks themselves
        if snapshot.height == height:
            yield snapshot


def drop_snapshots(home: Path, below: int) -> None:
    """Deletes those of lower heights. Raises OSError."""
    for height, path in list_snapshots(home):
        if height < below:
            path.unlink(missing_ok=True)
