"""A round as `consensus.aggregation` sees it, by final state: for nodes and clients alike."""

from __future__ import annotations

from consensus.aggregation.circle import Circle, PublicKeys, form_circle
from consensus.aggregation.outcome import Cheat, Ending, Outcome
from consensus.learning.chain_state import ChainState


def describe_circle(state: ChainState) -> Circle:
    """What all clients of a round know of one another. The beacon must be known."""
    task = state.genesis.task
    return form_circle(
        genesis_digest=state.genesis.digest,
        learning_round=state.learning_round,
        n_parameters=task.architecture.n_parameters,
        beacon=state.beacon,
        collusion=task.collusion,
        keys={
            client: PublicKeys(mask_key=commit.mask_key, share_key=commit.share_key)
            for client, commit in state.commits.items()
        },
    )


def describe_judged(state: ChainState) -> Outcome:
    """What the last block of a dispute has said: whom it excludes, which seeds it asks for."""
    return Outcome(
        ending=Ending.REVEAL,
        excluded=tuple((gone.client_key, gone.cheat) for gone in state.excluded),
        edges=tuple((edge.owner, edge.other) for edge in state.edges),
    )


def list_bad(state: ChainState) -> frozenset[bytes]:
    """Whose deals are bad, by the DISPUTE."""
    return frozenset(gone.client_key for gone in state.excluded if gone.cheat is Cheat.DEAL)
