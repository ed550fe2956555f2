"""Transactions that wait for a block. Bounded per client, so that nobody crowds others out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consensus.chain_state import ChainState, Phase
from consensus.messages import Commit, Proof, Register, SentTransaction, Update, permit_bytes
from consensus.signatures import is_signed, is_valid

PER_CLIENT = 8
_PHASES = {Register: Phase.REGISTER, Commit: Phase.COMMIT, Proof: Phase.PROVE, Update: Phase.UPDATE}


class Pool:
    """Pending transactions by digest, in the order of their arrival.

    A transaction enters with its client's signature, and only of a client that is registered (or
    has a permit to register): n_expected clients, PER_CLIENT each, bound the memory. To find one
    faulty can take pairings; after PER_CLIENT faulty ones a client has to wait for the next phase.
    """

    def __init__(self) -> None:
        self._pending: dict[bytes, SentTransaction] = {}
        self._n_faulty: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, state: ChainState, tx: SentTransaction) -> str | None:
        """Why it may not wait here; None: it does."""
        digest = tx.digest
        if digest in self._pending:
            return None
        if _is_past(state, tx):
            return "its time is over"
        if self._n_faulty.get(tx.client_key, 0) >= PER_CLIENT:
            return "its client has sent too many faulty ones"
        if sum(other.client_key == tx.client_key for other in self._pending.values()) >= PER_CLIENT:
            return "its client has too many that wait"
        if not is_signed(tx, tx.client_key, state.genesis.digest):
            return "the signature is not its client's"
        if isinstance(tx, Register):
            permitted = permit_bytes(state.genesis.digest, tx.client_key)
            if not is_valid(state.genesis.admission_key, tx.permit, permitted):
                return "the permit is not the admission key's"
        elif tx.client_key not in state.clients:
            return "its client is not registered"
        self._pending[digest] = tx
        return None

    def list_current(self, state: ChainState) -> Sequence[SentTransaction]:
        """Those of the phase and round under way that were not found faulty, first come first."""
        return [
            tx
            for digest, tx in self._pending.items()
            if _PHASES[type(tx)] is state.phase
            and (isinstance(tx, Register) or tx.learning_round == state.learning_round)
        ]

    def list_all(self) -> Sequence[SentTransaction]:
        return list(self._pending.values())

    def discard(self, txs: Iterable[SentTransaction]) -> None:
        """They are faulty: not for this block nor a later one."""
        for tx in txs:
            if self._pending.pop(tx.digest, None) is not None:
                self._n_faulty[tx.client_key] = self._n_faulty.get(tx.client_key, 0) + 1

    def forgive(self) -> None:
        """A phase begins: faulty ones of the phase before are forgotten."""
        self._n_faulty.clear()

    def prune(self, state: ChainState) -> None:
        """Leaves out what no later block may hold."""
        self._pending = {d: tx for d, tx in self._pending.items() if not _is_past(state, tx)}


def _is_past(state: ChainState, tx: SentTransaction) -> bool:
    if isinstance(tx, Register):
        return state.phase is not Phase.REGISTER or tx.client_key in state.clients
    if tx.learning_round != state.learning_round:
        return tx.learning_round < state.learning_round
    known = {Commit: state.commits, Proof: state.proofs, Update: state.updates}[type(tx)]
    order = list(Phase)
    return tx.client_key in known or order.index(state.phase) > order.index(_PHASES[type(tx)])
