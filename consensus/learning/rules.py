"""The rules that `consensus.agreement.state` asks for, by `consensus.learning.chain`."""

from __future__ import annotations

from consensus.agreement import receipts
from consensus.learning import chain
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import get_done, get_phase, is_asked
from consensus.wire.messages import Block
from consensus.wire.transactions import Register, SentTransaction


class ChainRules:
    """`events.Rules` of a real chain."""

    def apply(self, state: ChainState, block: Block) -> ChainState:
        """The chain after a final block."""
        return chain.apply(state, block)

    def proposers(self, state: ChainState) -> tuple[int, ...]:
        """Who may propose the next height, best first."""
        return chain.proposers(state)

    def takes(self, state: ChainState, tx: SentTransaction) -> bool:
        """Whether the next block may hold it, by its kind, its round and its client."""
        number = state.learning_round if isinstance(tx, Register) else tx.learning_round
        is_now = (get_phase(tx), number) == (state.phase, state.learning_round)
        return is_now and self.awaits(state, tx.client_key)

    def awaits(self, state: ChainState, client_key: bytes) -> bool:
        """Whether the next block may hold a transaction of this client."""
        if state.phase is Phase.REGISTER:
            return client_key not in state.clients
        if not is_asked(state, state.phase, client_key):
            return False
        return client_key not in get_done(state, state.phase)

    def is_full(self, state: ChainState, block: Block) -> bool:
        """Whether the block may have no room for one more transaction."""
        if state.phase is Phase.REGISTER:
            room = state.genesis.task.n_expected - len(state.clients)
            return receipts.is_full(block) or len(block.transactions) >= room
        return receipts.is_full(block)
