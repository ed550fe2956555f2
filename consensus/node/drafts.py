"""What a proposer puts into a block: pending transactions, the beacon, the aggregate, evidence."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.aggregation.outcome import Failure
from consensus.errors import BlobUnavailable
from consensus.learning.beacon import ShareSet
from consensus.learning.chain import beacon_message
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.outcome import make_none
from consensus.node.verifier import BlockVerifier
from consensus.wire.codec import MAX_TRANSACTIONS
from consensus.wire.genesis import Genesis
from consensus.wire.messages import (
    ROOM_BYTES,
    BeaconShare,
    Block,
    Evidence,
    QuorumCertificate,
    count_bytes,
)
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import Transaction


class BeaconShares:
    """Shares of the beacon that is due, one of each validator, and the beacon that they give.

    liars : who gave a false share, and is left out. So each of f false validators spoils one sum,
            once; were more than f left out, keys would be wrong, and from the next beacon on all
            count again
    """

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._at: tuple[int, int | None] = (-1, None)
        self._shares = ShareSet(genesis)
        self._made: bytes | None = None
        self.liars: set[int] = set()

    def add(self, state: ChainState, share: BeaconShare) -> str | None:
        """Why a share, signed by its validator, counts for nothing; None: it may. No pairing."""
        due = (state.learning_round, state.beacon_height)
        if state.beacon_height is None or (share.learning_round, share.commit_height) != due:
            return "a share of no beacon that is due"
        if self._at != due:
            self._begin(due)
        is_kept = self._shares.add(share.validator, share.share)
        return None if is_kept else "a second share of its validator"

    def _begin(self, due: tuple[int, int | None]) -> None:
        self._at, self._shares, self._made = due, ShareSet(self._genesis), None
        if len(self.liars) > self._genesis.n_faulty:
            self.liars.clear()

    def combine(self, state: ChainState) -> bytes | None:
        """The beacon that is due, verified; None while true shares are missing."""
        if self._at != (state.learning_round, state.beacon_height):
            return None
        if self._made is None:
            self._made = self._shares.combine(beacon_message(state), self.liars)
        return self._made


def draft_block(
    state: ChainState,
    *,
    proposer: int,
    certificate: tuple[QuorumCertificate, ...],
    transactions: Sequence[Transaction],
    evidence: Sequence[Evidence],
    shares: BeaconShares,
    verifier: BlockVerifier,
    lost: bytes | None = None,
) -> Block | None:
    """The next block; None while what is due at this height cannot be had.

    certificate  : of the state's last block
    transactions : judged to be fit for it; one per client is taken, the first
    lost         : what the aggregate calls lost; None: it has all that it needs
    """
    found = b"" if state.beacon_height is None else shares.combine(state)
    if found is None:
        return None
    aggregate: tuple[Aggregate, ...] = ()
    if lost is not None:
        aggregate = (make_none(state, Failure.LOST, lost=lost),)
    elif state.phase is Phase.ELECT:
        try:
            aggregate = (verifier.build_aggregate(state),)
        except BlobUnavailable:
            return None
    return Block(
        height=state.height + 1,
        parent=state.head,
        certificate=certificate,
        proposer=proposer,
        state_root=state.digest,
        beacon=found,
        transactions=_choose(transactions, most=_count_room(state)),
        evidence=tuple(e for e in evidence if e.first.validator not in state.offenders),
        aggregate=aggregate,
    )


def _count_room(state: ChainState) -> int:
    """How many transactions the next block may hold: no more clients than the task expects."""
    if state.phase is not Phase.REGISTER:
        return MAX_TRANSACTIONS
    return min(MAX_TRANSACTIONS, state.genesis.task.n_expected - len(state.clients))


def _choose(transactions: Sequence[Transaction], *, most: int) -> tuple[Transaction, ...]:
    """The first of each client, as many as a block holds."""
    chosen: dict[bytes, Transaction] = {}
    room = ROOM_BYTES
    for tx in transactions:
        size = count_bytes((tx,))
        if tx.client_key not in chosen and len(chosen) < most and size <= room:
            chosen[tx.client_key] = tx
            room -= size
    return tuple(chosen.values())
