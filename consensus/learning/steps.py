"""The steps of secure aggregation after the proofs: of whom each asks what, and what is in. Pure.

    MASK     everyone with a proof            its model under masks
    UNMASK   everyone who masked              shares of secrets; not of its own choice which ones
    ATTEST   everyone who masked and is not   commitments to its pairwise masks
             excluded
    REVEAL   owners of the listed edges       the seeds of these

A set is frozen by the block that closes its phase. All state is in `ChainState`: a node that starts
in the middle of a round asks the same clients for the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Refusal,
    Register,
    RoundStep,
    SentTransaction,
    Transaction,
)

STEPS: Mapping[Phase, RoundStep] = {
    Phase.MASK: RoundStep.MASK,
    Phase.UNMASK: RoundStep.UNMASK,
    Phase.ATTEST: RoundStep.ATTEST,
    Phase.REVEAL: RoundStep.REVEAL,
}
PHASES: Mapping[int, Phase] = {step: phase for phase, step in STEPS.items()}
FIELDS: Mapping[Phase, str] = {
    Phase.MASK: "masked",
    Phase.UNMASK: "unmasked",
    Phase.ATTEST: "attested",
    Phase.REVEAL: "revealed",
}
"""Where the payloads of a step lie in the state."""


def get_phase(tx: SentTransaction) -> Phase:
    """The phase that takes it."""
    match tx:
        case Register():
            return Phase.REGISTER
        case Commit():
            return Phase.COMMIT
        case Proof():
            return Phase.PROVE
        case Contribution():
            return PHASES[tx.step]


def list_asked(state: ChainState, phase: Phase) -> Collection[bytes]:
    """The clients that a phase waits for, and takes a transaction of."""
    match phase:
        case Phase.COMMIT:
            return [client for client in state.clients if find_bar(state, client) is None]
        case Phase.PROVE:
            return state.commits.keys()
        case Phase.MASK:
            return state.proofs.keys()
        case Phase.UNMASK:
            return state.masked.keys()
        case Phase.ATTEST:
            return state.masked.keys() - {gone.client_key for gone in state.excluded}
        case Phase.REVEAL:
            return {edge.owner for edge in state.edges}
        case _:
            return ()


def is_asked(state: ChainState, phase: Phase, client: bytes) -> bool:
    """Whether it is one of `list_asked`."""
    if phase is Phase.COMMIT:
        return client in state.clients and find_bar(state, client) is None
    return client in list_asked(state, phase)


def find_bar(state: ChainState, client: bytes) -> str | None:
    """Why a registered client may not commit to anything in this round; None: it may."""
    if client in state.expelled:
        return "the client is expelled"
    ban = state.bans.get(client)
    if ban is not None and state.learning_round < ban.until:
        return f"the client left a dispute unresolved: it sits out until round {ban.until}"
    return None


def get_done(state: ChainState, phase: Phase) -> Mapping[bytes, object]:
    """What is in of a phase, by client."""
    known: Mapping[Phase, Mapping[bytes, object]] = {
        Phase.REGISTER: state.clients,
        Phase.COMMIT: state.commits,
        Phase.PROVE: state.proofs,
    }
    return known[phase] if phase in known else get_payloads(state, phase)


def add_payloads(state: ChainState, phase: Phase, payloads: Mapping[bytes, bytes]) -> ChainState:
    """The state with more digests of payloads of a step."""
    known = MappingProxyType({**get_payloads(state, phase), **payloads})
    changes: dict[str, Any] = {FIELDS[phase]: known}
    return replace(state, **changes)


def get_payloads(state: ChainState, phase: Phase) -> Mapping[bytes, bytes]:
    """Digests of the payloads of a step, by client."""
    found: Mapping[bytes, bytes] = getattr(state, FIELDS[phase])
    return found


def list_round_blobs(state: ChainState) -> tuple[bytes, ...]:
    """Digests of all that the clients of this round have sent: what its sum is computed from.

    None when the chain is done: nothing is added up any more.
    """
    if state.phase is Phase.DONE:
        return ()
    payloads = (get_payloads(state, phase) for phase in FIELDS)
    deals = (proven.deal for proven in state.proofs.values())
    found = (*deals, *(digest for known in payloads for digest in known.values()))
    return tuple(dict.fromkeys(found))


def list_training_blobs(state: ChainState) -> tuple[bytes, ...]:
    """Digests of what clients train on, and of what they have shown of their training in this
    round: by what the next transactions are judged, and by what anybody judges the round again.

    None when the chain is done, or in a task without training.
    """
    if state.phase is Phase.DONE:
        return ()
    trajectories = (commitment.trajectory for commitment in state.commits.values())
    proofs = (proven.training for proven in state.proofs.values())
    found = (*state.batches.values(), *trajectories, *proofs)
    return tuple(dict.fromkeys(digest for digest in found if digest))


def list_sent(tx: Transaction) -> tuple[bytes, ...]:
    """Digests of the blobs that a transaction names itself."""
    match tx:
        case Register():
            named = [tx.batches]
        case Commit():
            named = [tx.trajectory]
        case Proof():
            named = [tx.deal, tx.training]
        case Refusal():
            named = [tx.proof.training]
        case Contribution():
            named = [tx.payload]
    return tuple(digest for digest in named if digest)


def list_blobs(state: ChainState, tx: Transaction) -> tuple[bytes, ...]:
    """Digests of what a client has named, now and before, by which this transaction is judged."""
    client = tx.client_key
    before = [state.batches.get(client)] if isinstance(tx, Commit | Proof | Refusal) else []
    if isinstance(tx, Proof | Refusal) and client in state.commits:
        before.append(state.commits[client].trajectory)
    return (*(digest for digest in before if digest), *list_sent(tx))
