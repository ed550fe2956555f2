"""What an ELECT block may say of its learning round, and what follows from it. Pure.

    closed    may be followed by
    PROVE     NONE, if it closed with too few
    MASK      NONE, if it closed with too few
    UNMASK    MODEL, NONE, DISPUTE (ATTEST is next)
    ATTEST    MODEL, NONE, REVEAL (REVEAL is next)
    REVEAL    MODEL, NONE

Which of these it is, who is excluded and which edges are listed depends on the clients' payloads,
and is computed by `consensus.node.verifier`; here is what holds whatever they say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from consensus.aggregation.graph import draw_graph
from consensus.aggregation.outcome import Ending, Failure
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.standing import ban
from consensus.learning.steps import list_round_blobs
from consensus.wire.outcomes import Aggregate, Entry

_ENDINGS: Mapping[Phase, Collection[Ending]] = {
    Phase.PROVE: (Ending.NONE,),
    Phase.MASK: (Ending.NONE,),
    Phase.UNMASK: (Ending.MODEL, Ending.NONE, Ending.DISPUTE),
    Phase.ATTEST: (Ending.MODEL, Ending.NONE, Ending.REVEAL),
    Phase.REVEAL: (Ending.MODEL, Ending.NONE),
}
_FAILURES: Mapping[Phase, Collection[Failure]] = {
    Phase.PROVE: (Failure.TOO_FEW,),
    Phase.MASK: (Failure.TOO_FEW,),
    Phase.UNMASK: (Failure.TOO_FEW, Failure.SHARES_MISSING, Failure.LOST),
    Phase.ATTEST: (Failure.TOO_FEW, Failure.UNRESOLVED, Failure.LOST),
    Phase.REVEAL: (Failure.UNRESOLVED, Failure.LOST),
}


def list_entries(state: ChainState, excluded: Collection[bytes] = ()) -> tuple[Entry, ...]:
    """Who enters a global model, by client key: who masked and is not excluded."""
    return tuple(
        Entry(client_key=client, proven=state.proofs[client].claimed_correct)
        for client in sorted(state.masked.keys() - set(excluded))
    )


def is_enough(state: ChainState, clients: Collection[bytes]) -> bool:
    """Whether a sum over these clients tells nothing of each. The beacon must be known."""
    graph = draw_graph(state.beacon, state.commits, state.genesis.task.collusion)
    return graph.is_enough(clients)


def make_none(state: ChainState, reason: Failure, *, lost: bytes | None = None) -> Aggregate:
    """The end of a round without a model, nobody found to cheat beyond those who were."""
    return Aggregate(
        learning_round=state.learning_round,
        ending=Ending.NONE,
        model_digest=state.global_model,
        excluded=state.excluded,
        reason=(reason,),
        lost=() if lost is None else (lost,),
    )


def find_outcome_fault(state: ChainState, aggregate: Aggregate) -> str | None:
    """What forbids this aggregate in the next block, whatever the payloads are; None: nothing."""
    if aggregate.learning_round != state.learning_round:
        return "the aggregate is of another round"
    if aggregate.ending not in _ENDINGS[state.closed]:
        return "the aggregate has an ending that is not due"
    if not set(aggregate.reason) <= set(_FAILURES[state.closed]):
        return "the aggregate has a reason that is not due"
    if aggregate.ending is not Ending.MODEL and aggregate.model_digest != state.global_model:
        return "the aggregate changes the model although nobody entered"
    return _find_exclusion_fault(state, aggregate) or _find_list_fault(state, aggregate)


def _find_exclusion_fault(state: ChainState, aggregate: Aggregate) -> str | None:
    """Who is proven to have cheated stays so; who is new has a proof in this round."""
    named = {exclusion.client_key for exclusion in aggregate.excluded}
    if not set(state.excluded) <= set(aggregate.excluded):
        return "the aggregate takes an exclusion back"
    if not named <= state.proofs.keys():
        return "the aggregate excludes a client without a proof"
    may_be_new = state.closed in (Phase.UNMASK, Phase.ATTEST) and not aggregate.lost
    if aggregate.excluded != state.excluded and not may_be_new:
        return "the aggregate excludes a client although nothing was judged"
    return None


def _find_list_fault(state: ChainState, aggregate: Aggregate) -> str | None:
    excluded = {exclusion.client_key for exclusion in aggregate.excluded}
    entries = list_entries(state, excluded)
    kept = {entry.client_key for entry in entries}
    if aggregate.ending is Ending.MODEL:
        if aggregate.entries != entries:
            return "the aggregate has other entries"
        if not is_enough(state, kept):
            return "the aggregate is a sum of too few"
    if not {edge.owner for edge in aggregate.edges} <= kept:
        return "the aggregate lists an edge of nobody who is left"
    if not {edge.other for edge in aggregate.edges} <= state.proofs.keys():
        return "the aggregate lists an edge to a client without a proof"
    if not set(aggregate.silent) <= state.masked.keys():
        return "the aggregate blames a client that was asked for nothing"
    if not set(aggregate.lost) <= set(list_round_blobs(state)):
        return "the aggregate lacks a blob that it does not need"
    return None


def take_outcome(state: ChainState, aggregate: Aggregate) -> ChainState:
    """The state with what an ELECT block says; the phase is not moved."""
    found = {exclusion.client_key for exclusion in aggregate.excluded}
    expelled = found | set(state.expelled)
    state = replace(
        state,
        global_model=aggregate.model_digest,
        excluded=aggregate.excluded,
        edges=aggregate.edges or state.edges,  # who was asked is asked about once more at the end
        expelled=tuple(sorted(expelled)),
        ranking=tuple(client for client in state.ranking if client not in expelled),
    )
    return ban(state, aggregate.silent if aggregate.failure is Failure.UNRESOLVED else ())
