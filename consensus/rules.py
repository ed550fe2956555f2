"""The rules that `consensus.state` asks for, by `consensus.chain`."""

from __future__ import annotations

from consensus import chain
from consensus.chain_state import ChainState, Phase
from consensus.messages import Block


class ChainRules:
    """`events.Rules` of a real chain."""

    def apply(self, state: ChainState, block: Block) -> ChainState:
        """The chain after a final block."""
        return chain.apply(state, block)

    def proposers(self, state: ChainState) -> tuple[int, ...]:
        """Who may propose the next height, best first."""
        return chain.proposers(state)

    def awaits_proof(self, state: ChainState, client_key: bytes) -> bool:
        """Whether the next block may hold a proof of this client."""
        return (
            state.phase is Phase.PROVE
            and client_key in state.commits
            and client_key not in state.proofs
        )
