"""What a node lets go, by one rule: blocks before the last `keep_blocks`, models only they name.

The lowest block that is kept follows a snapshot, so that the rest can be checked without those
before it; the two newest snapshots, and all blocks after the older of them, are always kept: a
peer that begins with one asks for what follows. An archive (None) keeps everything.

    HOME/models.log   for each block that names models: height, 8 bytes little-endian | digests
"""

from __future__ import annotations

from pathlib import Path

from consensus.disk.records import Log, make_head
from consensus.disk.snapshots import SnapshotInvalid, list_snapshots, load_snapshot
from consensus.learning.chain_state import ChainState
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Block
from consensus.wire.transactions import DIGEST_BYTES, Update
from kernels.files import PRIVATE, write_whole

MODELS = "models.log"
KEEP_BLOCKS = 16_384
"""About 11 MB of empty blocks of 4 validators; a chain makes the fewer of them the idler it is."""
_ADVICE = "delete it: then no model that it names is let go"
_HEIGHT_BYTES = 8


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


def list_models(block: Block) -> list[bytes]:
    """Digests of the models that a block names."""
    opened = [tx.model_digest for tx in block.transactions if isinstance(tx, Update)]
    return opened + [aggregate.model_digest for aggregate in block.aggregate]


class ModelIndex:
    """Which models the blocks of a ledger name. What is lost of it costs disk space only."""

    def __init__(self, home: Path) -> None:
        """Raises LedgerError, OSError."""
        self._log = Log(home / MODELS, _ADVICE)

    def record(self, block: Block) -> None:
        """Before the block is final. Raises OSError."""
        digests = list_models(block)
        if digests:
            self._log.append(_encode(block.height, digests))

    def forget(self, floor: int, state: ChainState) -> tuple[bytes, ...]:
        """Models that no block above the floor names, nor the state or its genesis, and forgets
        them. Raises LedgerError, OSError."""
        entries = [_decode(self._log.read(i)) for i in range(len(self._log))]
        needed = {state.global_model, *state.updates.values()}
        task = state.genesis.task
        needed.update((task.verifying_key_digest, task.commitment_key_digest, *task.pools))
        needed.update(d for height, digests in entries if height > floor for d in digests)
        gone = {d for _, digests in entries for d in digests} - needed
        if gone:
            self._rewrite([(h, [d for d in digests if d in needed]) for h, digests in entries])
        return tuple(sorted(gone))

    def _rewrite(self, entries: list[tuple[int, list[bytes]]]) -> None:
        payloads = [_encode(height, digests) for height, digests in entries if digests]
        path = self._log.path
        write_whole(path, [make_head(payload) + payload for payload in payloads], mode=PRIVATE)
        self._log.close()
        self._log = Log(path, _ADVICE)

    def close(self) -> None:
        self._log.close()


def _encode(height: int, digests: list[bytes]) -> bytes:
    return height.to_bytes(_HEIGHT_BYTES, "little") + b"".join(digests)


def _decode(raw: bytes) -> tuple[int, list[bytes]]:
    places = range(_HEIGHT_BYTES, len(raw), DIGEST_BYTES)
    digests = [raw[at : at + DIGEST_BYTES] for at in places]
    return int.from_bytes(raw[:_HEIGHT_BYTES], "little"), digests
