"""Chains that grow by everyone's doing, for tests of what shows them."""

from __future__ import annotations

from api.http.chain.history import ChainHistory
from consensus.learning.chain import apply
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import Block, FinalBlock, Precommit, QuorumCertificate
from tests.support.learning import Lab

LAB = Lab()


def certify(block: Block) -> FinalBlock:
    """With three votes that nobody signed: the history takes what a follower has verified."""
    certificate = QuorumCertificate(
        height=block.height,
        round=1,
        block_hash=block.hash,
        precommits=tuple(Precommit(validator=i, time_ms=0, signature=bytes(64)) for i in (0, 1, 3)),
    )
    return FinalBlock(block=block, certificate=certificate)


def grow(history: ChainHistory, state: ChainState, phase: Phase, lab: Lab = LAB) -> ChainState:
    """Blocks by everyone's doing until this phase begins; the first of a round takes one."""
    while True:
        block = lab.block(state, lab.list_due(state))
        state = apply(state, block)
        history.append(certify(block), state)
        if state.phase is phase:
            return state
