"""Transactions that wait for a block. Bounded per client, so that nobody crowds others out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import get_done, get_phase
from consensus.wire.codec import MAX_TRANSACTIONS
from consensus.wire.signatures import is_signed, is_valid
from consensus.wire.transactions import Register, SentTransaction, permit_bytes

PER_CLIENT = 8
MAX_CLIENTS = MAX_TRANSACTIONS
"""Registered ones, and with them those that wait to be: a task expects no more."""
_ORDER = {phase: number for number, phase in enumerate(Phase)}

Place = tuple[Phase, int]
"""Phase and learning round in which a transaction is due."""


class Pool:
    """Pending transactions by digest, in the order of their arrival.

    A transaction enters with its client's signature, and only of a client that is registered (or
    has a permit to register): MAX_CLIENTS, PER_CLIENT each, bound the memory, and what a node tells
    others of it, however many permits there are. It is of the learning round under way, or a commit
    of the next one: nothing else can be due soon. To find one faulty can take pairings; after
    PER_CLIENT faulty ones a client has to wait for the next phase.

    cost : of `add` and `discard` O(1) whatever waits, O(clients) for the first of one that is not
           registered; `prune` O(what waits for the phase under way)
    """

    def __init__(self) -> None:
        self._places: dict[Place, dict[bytes, SentTransaction]] = {}
        self._clients: dict[bytes, dict[bytes, Place]] = {}
        self._n_faulty: dict[bytes, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def add(
        self, state: ChainState, tx: SentTransaction, digest: bytes | None = None
    ) -> str | None:
        """Why it may not wait here; None: it does. digest : of the transaction, if known"""
        digest = digest or tx.digest
        waiting = self._clients.get(tx.client_key, {})
        if digest in waiting:
            return None
        fault = find_time_fault(state, tx)
        if fault is not None:
            return fault
        if self._n_faulty.get(tx.client_key, 0) >= PER_CLIENT:
            return "its client has sent too many faulty ones"
        if len(waiting) >= PER_CLIENT:
            return "its client has too many that wait"
        if not is_signed(tx, tx.client_key, state.genesis.digest):
            return "the signature is not its client's"
        if isinstance(tx, Register):
            permitted = permit_bytes(state.genesis.digest, tx.client_key)
            if not is_valid(state.genesis.admission_key, tx.permit, permitted):
                return "the permit is not the admission key's"
            if not waiting and not self._has_room(state):
                return "too many wait to be registered"
        elif tx.client_key not in state.clients and not _is_registering(waiting):
            return "its client is not registered"
        place = get_place(tx)
        self._places.setdefault(place, {})[digest] = tx
        self._clients.setdefault(tx.client_key, {})[digest] = place
        return None

    def _has_room(self, state: ChainState) -> bool:
        """For one more client that is not registered."""
        n_new = len(self._clients.keys() - state.clients.keys())
        return len(state.clients) + n_new < MAX_CLIENTS

    def get_current(self, state: ChainState) -> Mapping[bytes, SentTransaction]:
        """Those of the phase and round under way, by digest, first come first."""
        return MappingProxyType(self._places.get((state.phase, state.learning_round), {}))

    def list_all(self) -> Sequence[tuple[bytes, SentTransaction]]:
        """All that wait, each with its digest."""
        return [pair for waiting in self._places.values() for pair in waiting.items()]

    def discard(self, tx: SentTransaction) -> None:
        """It is faulty: not for this block nor a later one. Who is not let in waits for nothing."""
        if not self._remove(tx.digest, tx):
            return
        self._n_faulty[tx.client_key] = self._n_faulty.get(tx.client_key, 0) + 1
        waiting = self._clients.get(tx.client_key, {})
        if isinstance(tx, Register) and not _is_registering(waiting):
            for digest, place in list(waiting.items()):
                self._remove(digest, self._places[place][digest])

    def forgive(self) -> None:
        """A phase begins: faulty ones of the phase before are forgotten."""
        self._n_faulty.clear()

    def prune(self, state: ChainState) -> None:
        """Leaves out what no later block may hold.

        Within a phase this can only be what its last block has made late; when one begins, all that
        waits is looked at.
        """
        current = (state.phase, state.learning_round)
        for place, waiting in list(self._places.items()):
            if place == current or _is_over(state, place):
                for digest, tx in list(waiting.items()):
                    if find_time_fault(state, tx) is not None:
                        self._remove(digest, tx)
        if state.phase is not Phase.REGISTER:
            for client in self._clients.keys() - state.clients.keys():
                for digest, place in list(self._clients[client].items()):
                    self._remove(digest, self._places[place][digest])

    def _remove(self, digest: bytes, tx: SentTransaction) -> bool:
        """Whether it was here."""
        waiting = self._clients.get(tx.client_key, {})
        place = waiting.pop(digest, None)
        if place is None:
            return False
        if not waiting:
            del self._clients[tx.client_key]
        del self._places[place][digest]
        if not self._places[place]:
            del self._places[place]
        return True


def get_place(tx: SentTransaction) -> Place:
    """When it is due."""
    return get_phase(tx), 0 if isinstance(tx, Register) else tx.learning_round


def find_time_fault(state: ChainState, tx: SentTransaction) -> str | None:
    """Why no block that comes soon may hold it; None: one may."""
    phase, learning_round = place = get_place(tx)
    if _is_over(state, place) or _is_in(state, phase, learning_round, tx.client_key):
        return "its time is over"
    is_last = state.learning_round + 1 >= state.genesis.task.n_rounds
    ahead = learning_round - state.learning_round
    if ahead > 1 or (ahead == 1 and (is_last or phase is not Phase.COMMIT)):
        return "its time is far off"
    return None


def _is_over(state: ChainState, place: Place) -> bool:
    """Whether the phase of that round lies behind."""
    phase, learning_round = place
    if state.phase is Phase.DONE or learning_round < state.learning_round:
        return True
    if phase is Phase.REGISTER:
        return state.phase is not Phase.REGISTER
    if learning_round != state.learning_round:
        return False
    if state.phase is Phase.ELECT:  # where it goes on to, nobody knows
        return _ORDER[state.closed] >= _ORDER[phase]
    return _ORDER[state.phase] > _ORDER[phase]


def _is_in(state: ChainState, phase: Phase, learning_round: int, client_key: bytes) -> bool:
    """Whether a final block holds such a one of this client."""
    if phase is Phase.REGISTER:
        return client_key in state.clients
    return learning_round == state.learning_round and client_key in get_done(state, phase)


def _is_registering(waiting: Mapping[bytes, Place]) -> bool:
    return any(phase is Phase.REGISTER for phase, _ in waiting.values())
