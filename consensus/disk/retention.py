"""What a node lets go: payloads of a round that is over, and what clients have shown of their
training in it; blocks before the last `keep_blocks`, and the global models that only they name.
Batches are kept for as long as there are rounds.

The lowest block that is kept follows a snapshot, so that the rest can be checked without those
before it; the two newest snapshots, and all blocks after the older of them, are always kept: a
peer that begins with one asks for what follows. An archive (None) keeps everything: it can add up
the sum of any round once more.

    HOME/models.log   for each block that names blobs: height, 8 bytes little-endian | digests
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from consensus.disk.records import Log, make_head
from consensus.disk.snapshots import list_snapshots, load_snapshot
from consensus.errors import LedgerError, SnapshotInvalid
from consensus.learning.chain_state import ChainState
from consensus.learning.steps import list_round_blobs, list_sent, list_training_blobs
from consensus.wire.codec import MAX_TRANSACTIONS, Height
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Block
from kernels.files import PRIVATE, write_whole
from prover.errors import FieldInvalid
from prover.wire.kinds import Digest, Packed
from prover.wire.records import BARE, Record

MODELS = "models.log"
KEEP_BLOCKS = 16_384
"""About 11 MB of empty blocks of 4 validators; a chain makes the fewer of them the idler it is."""
_ADVICE = "delete it: then no blob that it names is let go"


def find_floor(home: Path, genesis: Genesis, *, height: int, keep_blocks: int | None) -> int:
    """Up to which height blocks may be let go; 0 for none. Raises OSError.

    Costs the check of one snapshot: the one that will take their place.
    """
    if keep_blocks is None:
        return 0
    older = list_snapshots(home)[:-1]
    for found, path in reversed(older):
        if found > height - keep_blocks:
            continue
        try:
            if load_snapshot(path, genesis).height == found:
                return found
        except SnapshotInvalid:
            continue
    return 0


def list_named(block: Block) -> list[bytes]:
    """Digests of the blobs that a block names: what clients have sent, a global model."""
    sent = [digest for tx in block.transactions for digest in list_sent(tx)]
    return sent + [aggregate.model_digest for aggregate in block.aggregate]


def list_spent(before: ChainState, after: ChainState) -> tuple[bytes, ...]:
    """Payloads that nobody reads any more once this block is final: those of a round it ends."""
    needed = set(list_needed(after))
    named = (*list_round_blobs(before), *list_training_blobs(before))
    return tuple(digest for digest in named if digest not in needed)


def list_needed(state: ChainState) -> tuple[bytes, ...]:
    """Digests of what a state and its genesis name."""
    task = state.genesis.task
    keys = task.file_digests
    sent = (*list_round_blobs(state), *list_training_blobs(state))
    return (*keys, state.global_model, *sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named(Record):
    """The blobs that the block of a height names."""

    height: Annotated[Height, BARE]
    digests: Annotated[tuple[Digest, ...], Packed(1, 2 * MAX_TRANSACTIONS + 1), BARE]


class ModelIndex:
    """Which blobs the blocks of a ledger name. What is lost of it costs disk space only."""

    def __init__(self, home: Path) -> None:
        """Raises LedgerError, OSError."""
        self._log = Log(home / MODELS, _ADVICE)

    def record(self, block: Block) -> None:
        """Writes down what a block names, before it is final. Raises OSError."""
        digests = list_named(block)
        if digests:
            self._log.append(_Named(height=block.height, digests=tuple(digests)).encode())

    def forget(self, floor: int, state: ChainState) -> tuple[bytes, ...]:
        """Blobs that no block above the floor names, nor the state or its genesis, and forgets
        them. Raises LedgerError, OSError."""
        entries = [self._read(i) for i in range(len(self._log))]
        needed = set(list_needed(state))
        needed.update(d for e in entries if e.height > floor for d in e.digests)
        gone = {d for e in entries for d in e.digests} - needed
        if gone:
            kept = [(e.height, tuple(d for d in e.digests if d in needed)) for e in entries]
            self._rewrite([_Named(height=h, digests=named) for h, named in kept if named])
        return tuple(sorted(gone))

    def _read(self, index: int) -> _Named:
        try:
            return _Named.parse(self._log.read(index))
        except FieldInvalid as error:
            raise LedgerError(self._log.path, f"entry {index}: {error}", _ADVICE) from None

    def _rewrite(self, entries: list[_Named]) -> None:
        payloads = [entry.encode() for entry in entries]
        path = self._log.path
        write_whole(path, [make_head(payload) + payload for payload in payloads], mode=PRIVATE)
        self._log.close()
        self._log = Log(path, _ADVICE)

    def close(self) -> None:
        self._log.close()
